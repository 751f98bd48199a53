"""A model gets the numbers that fit what it leaves in healthy brains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from IterMask3DLib import cli
from IterMask3DLib.core.artifacts import ThresholdCurve
from IterMask3DLib.core.image import Case
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import ANOMALY, CaseResult
from IterMask3DLib.methods.itermask3d.calibration import smallest_within
from IterMask3DLib.methods.itermask3d.normative_score import NORMATIVE_MEAN, NORMATIVE_SD
from IterMask3DLib.methods.itermask3d.whole_brain import MEAN_BRAIN, MEAN_BRAIN_SPREAD
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.preprocessing.prepare import prepare
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.run import finish, run_case
from IterMask3DLib.training.cohort import find_cohort
from IterMask3DLib.training.patients import LESION_MARGIN_MM, patient_brains
from IterMask3DLib.training.run import train
from Testing.training.toys import flat_cohort, paired_cohort, request

NETWORK = "reconstruction"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(request(flat_cohort(folder / "data"), folder / "run", steps=20))
    return folder


@pytest.fixture(scope="module")
def calibrated(trained: Path) -> Path:
    words = ["calibrate", str(trained / "run" / "model"), str(trained / "data"), "-o", str(trained / "better")]
    words += ["--cache", str(trained / "cache"), "--smoothing-mm", "4", "--limit", "0.01", "--device", "cpu"]
    assert cli.main(words) == 0
    return trained / "better"


def test_the_card_says_what_was_chosen_and_from_what(calibrated: Path) -> None:
    card = load_model(calibrated).card
    figures = {figure.name: figure.value for figure in card.figures}
    start = "calibration: share of healthy validation brains found anomalous, median multiple "
    means = {
        float(name.removeprefix(start).split(",")[0]): value
        for name, value in figures.items()
        if name.startswith(start) and name.endswith("mean")
    }
    fitting = [multiple for multiple, mean in means.items() if mean <= 0.01]
    assert card.settings["median_multiple"] == (min(fitting) if fitting else max(means))
    assert card.settings["smoothing_mm"] == 4 and card.settings["normative_error"]
    assert card.settings["region_growing"] == 1.5
    assert figures["calibration: training volumes"] == 3 and figures["calibration: validation volumes"] == 1
    command = figures["calibration: command"]
    assert command == "itermask3d calibrate model data -o better --smoothing-mm 4.0 --limit 0.01"
    # What was measured when it was trained stays.
    assert "validation error, whole brain" in figures


def test_the_network_stays_as_it_was_and_the_model_is_another(calibrated: Path, trained: Path) -> None:
    before, after = load_model(trained / "run" / "model"), load_model(calibrated)
    for name, tensor in before.networks[NETWORK].state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), after.networks[NETWORK].state_dict()[name].numpy())
    table = after.assets["normative_error"]
    assert before.card.files != after.card.files and table.shape == (20, 20, 20)
    # Scaled by themselves, healthy errors are around 1.
    assert 0.2 < table.mean() / np.median(table) < 5


def test_a_run_uses_the_models_threshold_a_gamma_overrules_it_and_published_leaves_it_out(
    calibrated: Path, trained: Path
) -> None:
    model = load_model(calibrated)

    def run(**choices: Any) -> tuple[CaseResult, ThresholdCurve]:
        case = Case.of(read_image(trained / "data" / "c0.nii.gz"))
        result = finish(run_case(case, model, Request(device="cpu", **choices)))
        return result, result.artifact(ThresholdCurve)

    usual, curve = run()
    assert curve.threshold == pytest.approx(model.card.settings["median_multiple"] * curve.median, rel=1e-9)
    settings = usual.provenance["settings"]
    assert settings["region_growing"] == 1.5 and settings["smoothing_mm"] == 4
    settings = run(settings={"gamma": 0.7})[0].provenance["settings"]
    assert settings["median_multiple"] is None and settings["gamma"] == 0.7
    settings = run(quality="published")[0].provenance["settings"]
    assert settings["smoothing_mm"] == 0 and settings["region_growing"] is None and settings["visited"] is None
    assert settings["gamma"] == 0.05 and settings["median_multiple"] is None


def test_without_region_growing_under_its_former_name(calibrated: Path, trained: Path, tmp_path: Path) -> None:
    words = ["calibrate", str(trained / "run" / "model"), str(trained / "data"), "-o", str(tmp_path / "plain")]
    words += ["--cache", str(trained / "cache"), "--smoothing-mm", "0", "--regrow", "0", "--limit", "1"]
    assert cli.main([*words, "--device", "cpu"]) == 0
    settings = load_model(tmp_path / "plain").card.settings
    assert settings["region_growing"] is None and settings["smoothing_mm"] == 0
    # The smallest multiple is within any limit.
    assert settings["median_multiple"] == 10


def test_no_model_is_overwritten(calibrated: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["calibrate", str(calibrated), str(trained / "data"), "-o", str(calibrated)]) != 0
    assert "exists" in capsys.readouterr().err


def test_the_smallest_value_within_the_limit_is_taken() -> None:
    shares = {3.0: [0.2, 0.4], 5.0: [0.0, 0.02], 8.0: [0.0, 0.0]}
    assert smallest_within(shares, 0.01) == 5.0
    assert smallest_within(shares, 0.5) == 3.0
    assert smallest_within({3.0: [0.2], 5.0: [0.1]}, 0.01) == 5.0


def test_training_can_begin_with_a_models_weights(trained: Path, tmp_path: Path) -> None:
    data, model = trained / "data", trained / "run" / "model"
    card = train(request(data, tmp_path / "again", initial=str(model), steps=1, learning_rate=1e-9))
    before, after = (
        load_model(folder).networks[NETWORK].state_dict() for folder in (model, tmp_path / "again" / "model")
    )
    for name, tensor in before.items():
        if name.endswith(("weight", "bias")):
            np.testing.assert_allclose(after[name].numpy(), tensor.numpy(), atol=1e-6)
    assert "--initial model" in card.training["command"] and card.training["initial weights"].startswith("run, sha256")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "has widths [2, 2, 4, 4, 4], not [8, 16, 32, 64, 128]; give --widths to match"),
        (("--method", "autoencoder"), "is a model of the method itermask3d; give --method to match"),
    ],
)
def test_weights_of_another_network_are_refused_in_one_sentence(
    words: tuple[str, ...], sentence: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(trained / "data"), "-o", str(tmp_path / "run"), "--spacing", "4", "--steps", "1", *words]
    command += ["--initial", str(trained / "run" / "model"), "--cache", str(trained / "cache"), "--device", "cpu"]
    assert cli.main(command) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and sentence in errors[0]


@pytest.fixture(scope="module")
def scored(trained: Path) -> Path:
    """Calibrated for whole-brain inference on two cohorts, one of them three brains of which two validate."""
    other = flat_cohort(trained / "other", 5)
    words = [
        "calibrate",
        str(trained / "run" / "model"),
        str(trained / "data"),
        str(other),
        "-o",
        str(trained / "scored"),
    ]
    words += ["--name", "scored-4mm", "--title", "Scored", "--intensity", "zscore_clip5", "--brains", "2"]
    words += ["--inference", "whole_brain", "--side", "bright", "--scales-mm", "2", "8", "--device", "cpu"]
    words += ["--mean-brain-weight", "0.5", "--peak-share", "0.3"]
    words += ["--about", "licence=CC0 = free", "--about", "command="]
    words += ["--healthy-shares", "0.001", "0.002", "0.01", "0.02", "0.05"]
    assert cli.main(words) == 0
    return trained / "scored"


def test_a_threshold_for_each_sensitivity_keeps_the_rate_in_healthy_brains(scored: Path, trained: Path) -> None:
    model = load_model(scored)
    settings, figures = model.card.settings, {(figure.name, figure.on): figure.value for figure in model.card.figures}
    thresholds = settings["thresholds"]
    assert thresholds == sorted(thresholds, reverse=True) and settings["inference"] == "whole_brain"
    assert settings["side"] == "bright" and settings["scales_mm"] == [2.0, 8.0]
    for share, limit in zip(settings["healthy_shares"], (0.001, 0.002, 0.01, 0.02, 0.05), strict=True):
        assert share <= limit + 1e-6
    assert (model.card.name, model.card.title, model.card.intensity) == ("scored-4mm", "Scored", "zscore_clip5")
    # What held for the iterations is not carried on.
    assert "gamma" not in settings
    assert set(model.assets) == {NORMATIVE_MEAN, NORMATIVE_SD, MEAN_BRAIN, MEAN_BRAIN_SPREAD}
    assert settings["mean_brain_weight"] == 0.5 and settings["peak_share"] == 0.3
    assert len(model.assets[NORMATIVE_MEAN]) == 4
    assert figures["calibration: training volumes", ""] == 4 and figures["calibration: validation volumes", ""] == 2
    name = "calibration: share of a healthy validation brain outlined, sensitivity 2, mean"
    means = [figures[name, f"1 validation volumes of {cohort}"] for cohort in ("data", "other")]
    np.testing.assert_allclose(np.mean(means), settings["healthy_shares"][4], atol=2e-6)
    command = figures["calibration: command", ""]
    assert command.startswith("itermask3d calibrate model data other -o scored --name scored-4mm --title Scored ")
    assert "--brains 2" in command and command.endswith("--healthy-shares 0.001 0.002 0.01 0.02 0.05")
    assert model.card.training["calibrated from"].startswith("run, sha256 ")
    assert model.card.training["licence"] == "CC0 = free" and "command" not in model.card.training
    low, high = settings["known_errors"]
    # A run on a brain of the cohort finds the error that the calibration found, so it is within the range.
    result = run(scored, trained / "data" / "c0.nii.gz")
    assert low - 1e-3 <= result.scalars["first_error"] <= high + 1e-3
    assert not any("unlike" in warning for warning in result.warnings)
    # Without the mean brain the tables of the other scales are left out.
    assert run(scored, trained / "data" / "c0.nii.gz", mean_brain_weight=0.0).scalars["first_error"] == pytest.approx(
        result.scalars["first_error"]
    )


def test_a_run_outlines_of_a_validation_brain_what_the_card_says(scored: Path, trained: Path) -> None:
    card = load_model(scored).card
    split = find_cohort(trained / "data", ("T1w",), 0.1, 0)
    result = run(scored, split.validation[0].path, sensitivity=2)
    figures = {(figure.name, figure.on): figure.value for figure in card.figures}
    name = "calibration: share of a healthy validation brain outlined, sensitivity 2, mean"
    share = result.scalars["mask_size"] / run_brain_voxels(scored, split.validation[0].path)
    # The cohort is kept in half precision.
    assert abs(share - figures[name, "1 validation volumes of data"]) < 0.002


def test_a_contrast_is_drawn_of_t1w_brains(trained: Path) -> None:
    words = ["calibrate", str(trained / "run" / "model"), str(paired_cohort(trained / "pairs")), "-o"]
    words += [str(trained / "flair"), "--contrast", "FLAIR", "--inference", "whole_brain", "--side", "bright"]
    words += ["--intensity", "reversed_zscore_clip5", "--scales-mm", "4", "--no-other-side", "--device", "cpu"]
    assert cli.main(words) == 0
    card = load_model(trained / "flair").card
    assert card.inputs == ("FLAIR",) and card.intensity == "reversed_zscore_clip5"
    assert card.settings["other_side"] is False
    # Of another input nothing that was measured holds.
    assert all(figure.name.startswith("calibration: ") for figure in card.figures)


def test_healthy_tissue_of_patients_is_a_cohort_of_its_own(trained: Path) -> None:
    """Also where its folder has the name of that of the healthy brains."""
    folder, (brain, affine) = trained / "patients" / "data", brain_of_cohort(trained)
    lesion = np.zeros(brain.shape, dtype=np.uint8)
    middle = tuple(side // 2 for side in brain.shape)
    lesion[tuple(slice(at - 2, at + 2) for at in middle)] = 1
    folder.mkdir(parents=True)
    write_nifti(np.where(lesion, 255, brain).astype(np.uint8), affine, folder / "p0_T1w.nii.gz")
    write_nifti(lesion, affine, folder / "p0_lesions.nii.gz")
    card = load_model(trained / "run" / "model").card
    (patient,) = patient_brains(folder, card, lambda text: None)
    lost = int(patient.brain.sum()) - int(patient.tissue.sum())
    # Everything within a centimetre of the lesion is left out, and no more.
    ball = 4 / 3 * np.pi * (LESION_MARGIN_MM + 2 * affine[0, 0]) ** 3
    assert lesion.sum() * affine[0, 0] ** 3 < lost * card.grid.spacing**3 < 1.5 * ball and patient.tissue.any()
    words = ["calibrate", str(trained / "run" / "model"), str(trained / "data"), "-o", str(trained / "real")]
    words += ["--patients", str(folder), "--inference", "whole_brain", "--side", "bright", "--scales-mm", "4"]
    assert cli.main([*words, "--no-other-side", "--device", "cpu"]) == 0
    model = load_model(trained / "real")
    figures = {(figure.name, figure.on): figure.value for figure in model.card.figures}
    assert figures["calibration: healthy tissue of patients", ""] == "data 2, farther than 10 mm from every lesion"
    assert "--patients data" in figures["calibration: command", ""]
    assert figures["calibration: validation volumes", ""] == 2
    name = "calibration: share of a healthy validation brain outlined, sensitivity 2, mean"
    means = [figures[name, f"1 validation volumes of {cohort}"] for cohort in ("data 1", "data 2")]
    np.testing.assert_allclose(np.mean(means), model.card.settings["healthy_shares"][4], atol=2e-6)
    found = run(trained / "real", folder / "p0_T1w.nii.gz", sensitivity=2).layers[ANOMALY].read()
    far = np.asarray(brain > 0) & (
        ndimage.distance_transform_edt(lesion == 0, sampling=affine[0, 0]) > LESION_MARGIN_MM
    )
    assert found.sum() > (found & far).sum()
    np.testing.assert_allclose((found & far).sum() / far.sum(), means[1], atol=0.003)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--patients", "nowhere"], "nowhere is not a folder"),
        (["--limit", "0.1", "--inference", "whole_brain"], "limit has no effect with inference whole_brain"),
        (["--side", "dark"], "side has no effect with inference iterative"),
        (["--intensity", "magic"], "intensity scale magic is not known"),
    ],
)
def test_what_a_calibration_cannot_do_is_told(
    words: list[str], sentence: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["calibrate", str(trained / "run" / "model"), str(trained / "data"), "-o", str(trained / "none")]
    assert cli.main([*arguments, *words]) == 1
    assert sentence in capsys.readouterr().err and not (trained / "none").exists()


def brain_of_cohort(trained: Path) -> tuple[Any, Any]:
    image = read_image(trained / "data" / "c1.nii.gz")
    return image.array, image.affine


def run(folder: Path, path: Path, **settings: Any) -> CaseResult:
    request = Request(device="cpu", settings=settings)
    return finish(run_case(Case.of(read_image(path)), load_model(folder), request))


def run_brain_voxels(folder: Path, path: Path) -> int:
    return int(prepare(Case.of(read_image(path)), load_model(folder).card).brain.sum())
