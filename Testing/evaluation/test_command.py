"""`itermask3d evaluate` from the data folder to the table: at once, killed in between, and in two processes."""

from __future__ import annotations

import csv
import json
import shutil
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from IterMask3DLib.cli import main
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.locks import held
from IterMask3DLib.core.request import Request
from IterMask3DLib.evaluation import cases, command
from IterMask3DLib.evaluation.cases import LoadedCase, read_cohort
from IterMask3DLib.evaluation.cli import SECTIONS
from IterMask3DLib.evaluation.detectors import Detection, ModelDetector
from IterMask3DLib.training.options import training_options
from IterMask3DLib.training.run import TrainingRequest, train
from Testing.brains import toy_model
from Testing.evaluation.cohorts import data_folder, labelled_folder, second_scanner_and_tumour
from Testing.launcher import launch
from Testing.toy_methods.models import toy_method_model

LINES = ["itermask3d", "one_pass", "autoencoder", "z_score", "robust_z_score", "intensity"]
TABLES = ("table.csv", "table.md", "cases.csv")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder, a model and an auto-encoder, all small."""
    folder = tmp_path_factory.mktemp("toy")
    data_folder(folder / "data")
    toy_model(folder / "model")
    small = {"steps": 2, "spacing": 4.0, "widths": [2, 2, 2, 2]}
    options = training_options("autoencoder", small, "test")
    train(TrainingRequest((folder / "data" / "ixi",), folder / "autoencoder", options))
    return folder


@pytest.fixture(scope="module")
def whole(toy: Path) -> Path:
    """The output folder of an uninterrupted run of one process."""
    assert main(words(toy, "labelled", toy / "whole")) == 0
    return toy / "whole"


@pytest.fixture
def few_cases() -> Iterator[None]:
    """Two artefacts and two strokes in the one test brain, a stroke in the validation brain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cases, "BRAINS_PER_ARTEFACT", {"mild": 0, "medium": 1, "severe": 0})
        patch.setattr(cases, "KINDS", ("middle_chunk", "zipper"))
        patch.setattr(cases, "STROKES_PER_BRAIN", 2)
        patch.setattr(cases, "CALIBRATION_PER_BRAIN", 1)
        yield


def words(toy: Path, protocol: str, out: Path) -> list[str]:
    """The command line of a protocol, with the baselines."""
    data = str(toy / "data")
    where = [str(toy / "data" / "open_ms"), "--data", data] if protocol == "labelled" else [data]
    models = ["--model", str(toy / "model"), "--autoencoder", str(toy / "autoencoder")]
    return ["evaluate", protocol, *where, "-o", str(out), *models]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def provenance_of(out: Path) -> dict:
    return json.loads((out / "table.json").read_text(encoding="utf-8"))["provenance"]


def test_one_command_writes_the_whole_table(
    toy: Path, tmp_path: Path, few_cases: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(toy, "all", tmp_path)) == 0
    assert "IterMask3D" in capsys.readouterr().out
    rows, found = rows_of(tmp_path / "table.csv"), rows_of(tmp_path / "cases.csv")
    assert list(dict.fromkeys(row["finder"] for row in rows)) == LINES
    assert {row["section"] for row in rows} == {"strokes", "healthy", "artefacts", "labelled"}
    # A healthy brain, two strokes, two artefacts and three labelled volumes, each once for every line.
    assert len(found) == len({(case["section"], case["case"], case["finder"]) for case in found}) == 8 * len(LINES)
    assert not [case for case in found if case["section"] == "calibration"]
    provenance = provenance_of(tmp_path)
    assert provenance["cases"] == {"healthy": 1, "strokes": 2, "artefacts": 2, "labelled": 3}
    # The auto-encoder's model has no threshold of its own; like the other baselines it gets one on calibration.
    assert {name for name, one in provenance["finders"].items() if "threshold" in one} == {*LINES[1:]}
    page = (tmp_path / "table.html").read_text(encoding="utf-8")
    examples = page.count("<figure>")
    assert examples > 3 + 2 + 1 and page.count("data:image/png") == examples * (1 + len(LINES)) and "http" not in page
    assert (tmp_path / "table.md").read_text(encoding="utf-8").count("\n") == 2 + len(LINES)


def test_scanners_and_contrasts_each_have_their_figures(toy: Path, tmp_path: Path, few_cases: None) -> None:
    shutil.copytree(toy / "data", tmp_path / "data")
    second_scanner_and_tumour(tmp_path / "data")
    for patient in ("patient1", "patient2"):
        shutil.rmtree(tmp_path / "data" / "open_ms" / patient)
    flair = tmp_path / "flair"
    shutil.copytree(toy / "model", flair)
    card = json.loads((flair / "card.json").read_text(encoding="utf-8"))
    (flair / "card.json").write_text(json.dumps({**card, "name": "flair", "inputs": ["FLAIR"]}), encoding="utf-8")
    asked = ["evaluate", "all", str(tmp_path / "data"), "-o", str(tmp_path / "out"), "--model", str(toy / "model")]
    assert main([*asked, "--model", str(flair), "--autoencoder", str(toy / "autoencoder")]) == 0
    rows, found = rows_of(tmp_path / "out" / "table.csv"), rows_of(tmp_path / "out" / "cases.csv")
    assert list(dict.fromkeys(row["finder"] for row in rows)) == LINES
    groups = {(row["section"], row["group"]) for row in rows}
    assert {("strokes", "scanner ixi"), ("strokes", "scanner ds002748"), ("tumours", "contrast FLAIR")} <= groups
    # The last of the second scanner, with what its table knows; artefacts are made in brains of the first alone.
    assert {case["subject"] for case in found if case["scanner"] == "ds002748"} == {"sub-71"}
    assert {case["scanner"] for case in found if case["section"] == "artefacts"} == {"ixi"}
    own = next(case for case in found if case["section"] == "healthy" and case["scanner"] == "ixi")
    assert (own["sex"], own["age"], own["contrast"]) == ("F", "90", "T1w")
    tumours = {(case["case"], case["finder"]) for case in found if case["section"] == "tumours"}
    assert ("tumour0_FLAIR", "itermask3d") in tumours and ("tumour0_FLAIR", "autoencoder") not in tumours
    # A threshold for each contrast: from strokes on T1w, from the tumour on FLAIR.
    assert set(provenance_of(tmp_path / "out")["finders"]["intensity"]["threshold"]) == {"T1w", "FLAIR"}


def test_one_scanner_alone_can_be_asked_for(toy: Path, tmp_path: Path, few_cases: None) -> None:
    shutil.copytree(toy / "data", tmp_path / "data")
    second_scanner_and_tumour(tmp_path / "data")
    asked = Namespace(protocol="synthetic", data=tmp_path / "data", brains=None, scanner="ds002748", model=None)
    models = command.model_detectors([str(toy / "model")], Request())
    found = command.protocol_cases(asked, models, read_cohort(tmp_path / "data" / "ixi"), 0)
    # A healthy brain, two strokes, two artefacts.
    assert [case.facts["scanner"] for case in found] == ["ds002748"] * 5
    asked.scanner = "other"
    with pytest.raises(UserError, match="has no scanner other; it has ixi, ds002748"):
        command.protocol_cases(asked, models, read_cohort(tmp_path / "data" / "ixi"), 0)


def test_parts_of_the_table_can_be_asked_for(toy: Path, tmp_path: Path, few_cases: None) -> None:
    assert SECTIONS == (cases.HEALTHY, cases.STROKES, cases.ARTEFACTS, cases.LABELLED, cases.TUMOURS)
    asked = words(toy, "synthetic", tmp_path)
    assert main([*asked, "--sections", "strokes", "healthy"]) == 0
    rows = rows_of(tmp_path / "table.csv")
    assert {row["section"] for row in rows} == {"strokes", "healthy"}
    assert any(row["metric"] == "auroc_by_masked_share" and row["section"] == "strokes" for row in rows)


def test_of_two_evaluations_into_one_folder_the_second_is_refused(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(tmp_path):
        assert main(words(toy, "synthetic", tmp_path)) == 1
    assert "Another evaluation is at work in" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_killed_run_goes_on_to_the_same_table(
    toy: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detect, asked = ModelDetector.detect, list[str]()

    def killed_at_the_second(self: ModelDetector, case: LoadedCase) -> Detection:
        if self.name == "itermask3d" and case.reference.name.startswith("patient"):
            asked.append(case.reference.name)
            if len(asked) == 2:
                raise KeyboardInterrupt
        return detect(self, case)

    monkeypatch.setattr(ModelDetector, "detect", killed_at_the_second)
    assert main(words(toy, "labelled", tmp_path)) == 1
    assert not (tmp_path / "table.csv").exists()
    assert main(words(toy, "labelled", tmp_path)) == 0
    # The first case was kept; the second, which was killed, came again.
    assert asked == ["patient0_T1", "patient1_T1", "patient1_T1", "patient2_T1"]
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_two_processes_write_the_table_of_one(toy: Path, whole: Path, tmp_path: Path) -> None:
    done = launch(*words(toy, "labelled", tmp_path), processes=2)
    assert done.returncode == 0, done.stderr
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    assert done.stdout.count("table.html") == 1


def test_a_missing_auto_encoder_is_trained_in_the_output_folder(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = list[TrainingRequest]()

    def copied(request: TrainingRequest, on_event: object) -> None:
        trained.append(request)
        shutil.copytree(toy / "autoencoder" / "model", request.run / "model")

    monkeypatch.setattr("IterMask3DLib.training.run.train", copied)
    monkeypatch.setattr("IterMask3DLib.evaluation.command.calibrated", lambda detectors, *others, **more: detectors[:1])
    for _ in range(2):
        assert main(words(toy, "labelled", tmp_path / "out")[:-2]) == 0
    assert [request.run for request in trained] == [tmp_path / "out" / "autoencoder"]
    assert trained[0].options.method == "autoencoder" and trained[0].data == (toy / "data" / "ixi",)


def test_the_auto_encoder_is_trained_by_a_command_of_its_own(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = list[TrainingRequest]()
    monkeypatch.setattr("IterMask3DLib.training.run.train", lambda request, on_event: asked.append(request))
    assert main(["evaluate", "autoencoder", str(toy / "data"), "-o", str(tmp_path / "ae"), "--steps", "7"]) == 0
    usual = training_options("autoencoder", {}, "test")
    assert asked == [TrainingRequest((toy / "data" / "ixi",), tmp_path / "ae", replace(usual, steps=7))]
    assert capsys.readouterr().out.strip() == str(tmp_path / "ae" / "model")


def test_without_a_data_folder_a_labelled_set_is_measured_alone(toy: Path, tmp_path: Path) -> None:
    folder = str(toy / "data" / "open_ms")
    asked = ["evaluate", "labelled", folder, "-o", str(tmp_path), "--model", str(toy / "model"), "--modality", "T2"]
    assert main(asked) == 0
    assert {case["finder"] for case in rows_of(tmp_path / "cases.csv")} == {"itermask3d"}
    assert rows_of(tmp_path / "cases.csv")[0]["case"] == "patient0_T2"


def test_each_model_is_a_line_whatever_its_method(toy: Path, tmp_path: Path) -> None:
    folder, other = str(labelled_folder(tmp_path / "one", cases=1)), toy_model(tmp_path / "other")
    models = [
        word for model in (toy / "model", other, toy / "autoencoder" / "model") for word in ("--model", str(model))
    ]
    assert (
        main(
            [
                "evaluate",
                "labelled",
                folder,
                "-o",
                str(tmp_path / "out"),
                *models,
                "--gamma",
                "0.3",
                "--backend",
                "pytorch",
            ]
        )
        == 0
    )
    rows = rows_of(tmp_path / "out" / "table.csv")
    assert list(dict.fromkeys(row["finder"] for row in rows)) == ["itermask3d_model", "itermask3d_other", "autoencoder"]
    # Settings are given to the methods that have them, and nobody chose a threshold for the auto-encoder here.
    lines = provenance_of(tmp_path / "out")["finders"]
    assert lines["itermask3d_other"]["settings"]["gamma"] == 0.3 and "gamma" not in lines["autoencoder"]["settings"]
    own = {row["finder"]: row["value"] for row in rows if row["metric"] == "dice"}
    oracle = {row["finder"]: row["value"] for row in rows if row["metric"] == "dice_at_best_threshold_oracle"}
    assert own["itermask3d_other"] and not own["autoencoder"] and oracle["autoencoder"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--seed", "-1"], "seed is -1; it must be at least 0"),
        (["--gamma", "nan"], "gamma is nan; it must be a number"),
        (["--gamma", "0"], "gamma is 0.0; it must be at least"),
        (["--brains", "0"], "0 is not a positive whole number"),
        (["--device", "abacus"], "invalid choice: 'abacus'"),
    ],
)
def test_a_choice_out_of_range_is_a_usage_error(
    wrong: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["evaluate", "synthetic", str(tmp_path), "-o", str(tmp_path / "out"), *wrong])
    assert leaving.value.code == 2 and sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_is_said_in_a_line(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = ["--model", str(toy / "model")], ["-o", str(tmp_path / "out")]
    twice, folder = [*model, *model], str(toy / "data" / "open_ms")
    wrong = {
        "is not a folder": ["evaluate", "all", str(tmp_path / "nowhere"), *out, *model],
        "Two models are called model": ["evaluate", "labelled", folder, *out, *twice],
        "No model here has the setting threshold": ["evaluate", "labelled", folder, *out, *model, "--threshold", "3"],
        "would be written over the input": [
            "evaluate",
            "labelled",
            folder,
            *model,
            "-o",
            str(toy / "data" / "open_ms" / "out"),
        ],
        "has no volume beside it": ["evaluate", "labelled", folder, *out, *model, "--modality", "FLAIR"],
    }
    for sentence, asked in wrong.items():
        assert main(asked) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: ") and sentence in said and said.count("\n") == 1


def test_a_table_that_is_no_evaluations_is_never_replaced(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.csv").write_text("mine", encoding="utf-8")
    asked = ["evaluate", "labelled", str(toy / "data" / "open_ms"), "-o", str(tmp_path), "--model", str(toy / "model")]
    assert main(asked) == 1 and "holds no results of this program" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert (tmp_path / "table.csv").read_text(encoding="utf-8") == "mine"


def test_an_evaluation_that_ended_before_its_first_case_goes_on(
    toy: Path, tmp_path: Path, few_cases: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*args: object, **more: object) -> None:
        raise UserError("Stopped after the mean brain.")

    monkeypatch.setattr(command, "calibrated", stopped)
    asked = words(toy, "synthetic", tmp_path / "out")
    for _ in range(2):
        assert main(asked) == 1 and "error: Stopped after the mean brain." in capsys.readouterr().err
        assert (tmp_path / "out" / "mean_brain.npz").exists()


@pytest.fixture(scope="module")
def strangers(toy: Path, toy_methods: Path) -> Path:
    """Models of methods that only a stranger's package knows: one channel and a mask, two channels and a case score."""
    for method in ("toy_reconstruction", "toy_case_score"):
        toy_method_model(toy / "strangers" / method, method)
    return toy / "strangers"


def test_a_strangers_method_is_a_line_with_its_own_options(
    toy: Path, strangers: Path, tmp_path: Path, few_cases: None
) -> None:
    asked = words(toy, "synthetic", tmp_path)
    asked[asked.index("--model") + 1] = str(strangers / "toy_reconstruction")
    assert main([*asked, "--cut", "0.5", "--rounds", "2"]) == 0
    rows = rows_of(tmp_path / "table.csv")
    assert list(dict.fromkeys(row["finder"] for row in rows)) == ["toy_reconstruction", *LINES[1:]]
    assert provenance_of(tmp_path)["settings"] == {"cut": 0.5, "rounds": 2}
    own = {(row["section"], row["metric"]) for row in rows if row["finder"] == "toy_reconstruction" and row["value"]}
    assert {("strokes", "dice"), ("healthy", "false_positive_ml"), ("artefacts", "auroc_by_case_score")} <= own
    first = next(case for case in rows_of(tmp_path / "cases.csv") if case["finder"] == "toy_reconstruction")
    assert first["first_error"] and first["psnr_healthy_db"]


def test_a_method_with_a_score_of_the_case_alone_stands_beside_one_with_a_mask(
    toy: Path, strangers: Path, tmp_path: Path
) -> None:
    models = ["--model", str(toy / "model"), "--model", str(strangers / "toy_case_score")]
    assert main(["evaluate", "labelled", str(toy / "data" / "open_ms"), "-o", str(tmp_path), *models]) == 0
    found = {
        name: [c for c in rows_of(tmp_path / "cases.csv") if c["finder"] == name]
        for name in ("itermask3d", "toy_case_score")
    }
    assert [case["case"] for case in found["itermask3d"]] == [case["case"] for case in found["toy_case_score"]]
    assert all(case["case_score"] and not case["dice"] and not case["masked_share"] for case in found["toy_case_score"])
    assert all(case["dice"] for case in found["itermask3d"])
    assert "no mask" in (tmp_path / "table.html").read_text(encoding="utf-8")
    rows = rows_of(tmp_path / "table.csv")
    assert {row["finder"] for row in rows if row["metric"] == "slice_auroc" and row["value"]} == set(found)


def test_a_model_whose_channels_no_case_has_is_refused(
    toy: Path, strangers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [
        "evaluate",
        "synthetic",
        str(toy / "data"),
        "-o",
        str(tmp_path / "out"),
        "--model",
        str(strangers / "toy_case_score"),
    ]
    assert main(asked) == 1
    assert "needs the input T1w and T2w, which no case of these has" in capsys.readouterr().err
