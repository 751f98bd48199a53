"""What models are compared with does what it says, and a model is run as `segment` runs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import ANOMALY, HEATMAP
from IterMask3DLib.evaluation.baselines import Intensity, RobustZScore, ZScore
from IterMask3DLib.evaluation.cases import LoadedCase
from IterMask3DLib.evaluation.detectors import ModelDetector, Thresholded, lines_of_models, one_passes
from IterMask3DLib.evaluation.mean_brain import mean_brain
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.store import Model, save_model
from IterMask3DLib.preprocessing.mean_brain import MeanBrain
from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.run import finish, run_case
from Testing.brains import toy_model
from Testing.evaluation.cohorts import varied
from Testing.methods.test_whole_brain import scored_model


def case(number: int = 0) -> LoadedCase:
    array, affine = varied(number)
    return LoadedCase({"T1w": Image(array, affine, f"case{number}")}, array > 0, None)


def files(folder: Path, count: int) -> list[Path]:
    written = []
    for number in range(count):
        written.append(folder / f"brain{number}.nii.gz")
        write_nifti(*varied(number), written[-1])
    return written


def squared_error(of: LoadedCase, reconstruction: np.ndarray) -> np.ndarray:
    """Of the brain's voxels, in standard deviations, which the scale of the networks cuts at 3."""
    values = of.reference.array[of.brain].astype(float)
    mean, deviation = values.mean(), values.std()
    return (np.clip((values - mean) / deviation, -3, 3) - (reconstruction[of.brain] - mean) / deviation) ** 2


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> MeanBrain:
    folder = tmp_path_factory.mktemp("healthy")
    return mean_brain(files(folder, 3), folder / "mean.npz")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(toy_model(tmp_path_factory.mktemp("models") / "plain"))


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, plain: Model) -> Model:
    """A toy model whose card smooths its error and divides it by that of healthy brains."""
    folder = tmp_path_factory.mktemp("models") / "scored"
    settings = {**plain.card.settings, "smoothing_mm": 4.0, "normative_error": True}
    states = {name: network.state_dict() for name, network in plain.networks.items()}
    table = np.full((20, 20, 20), 4.0, np.float32)
    save_model(folder, replace(plain.card, name="scored", settings=settings), states, {"normative_error": table})
    return load_model(folder)


def test_intensity_is_the_rank_within_the_brain() -> None:
    array = np.zeros((2, 2, 3), np.int16)
    array.reshape(-1)[:5] = [10, 20, 20, 30, 40]
    brain = array > 0
    bright, dark = (Intensity().detect(one_contrast(array, name)).score for name in ("FLAIR", "T1w"))
    np.testing.assert_allclose(bright[brain], [0.1, 0.4, 0.4, 0.7, 0.9])
    np.testing.assert_allclose(dark[brain], 1 - bright[brain], atol=1e-7)
    assert not bright[~brain].any()
    # As in the source, components of fewer than 20 voxels go.
    assert Thresholded(Intensity(), {"T1w": 0.5}).smallest_voxels == 20


def one_contrast(array: np.ndarray, name: str) -> LoadedCase:
    return LoadedCase({name: Image(array, np.eye(4), "ranks")}, array > 0, None)


def test_a_robust_z_score_is_the_distance_from_the_median_on_the_side_of_the_contrast() -> None:
    array = np.zeros((9, 9, 9))
    array[1:8, 1:8, 1:8] = np.random.default_rng(0).normal(100, 7, (7, 7, 7))
    array[4, 4, 4] = 200
    values = array[array > 0]
    wanted = (values - np.median(values)) / (1.4826 * np.median(np.abs(values - np.median(values))))
    bright, dark = (RobustZScore().detect(one_contrast(array, name)).score for name in ("T2w", "T1w"))
    np.testing.assert_allclose(bright[array > 0], np.maximum(wanted, 0), rtol=1e-4)
    np.testing.assert_allclose(dark[array > 0], np.maximum(-wanted, 0), rtol=1e-4)
    assert bright[4, 4, 4] == bright.max() > 10 and not dark[4, 4, 4]


def test_models_of_one_contrast_each_are_one_line_and_a_case_goes_to_its_own(plain: Model) -> None:
    flair = replace(plain, card=replace(plain.card, name="flair", inputs=("FLAIR",)))
    (line,) = lines_of_models([ModelDetector(one, Request()) for one in (plain, flair)])
    assert [line.of((name,)).model.card.name for name in ("T1w", "FLAIR")] == ["plain", "flair"]
    assert line.accepts(("FLAIR",)) and not line.accepts(("T2w",))
    assert line.identity()["model"] == "plain, flair" and set(line.identity()["settings"]) == {"plain", "flair"}
    assert [one.accepts(("FLAIR",)) for one in line.members] == [False, True]
    # Two for the same contrast are compared with each other.
    other = replace(plain, card=replace(plain.card, name="other"))
    lines = lines_of_models([ModelDetector(one, Request()) for one in (plain, other)])
    assert [one.name for one in lines] == ["itermask3d_plain", "itermask3d_other"]
    assert all(one.accepts(("FLAIR",)) for one in lines)
    three = lines_of_models([ModelDetector(one, Request()) for one in (plain, other, flair)])
    assert [one.title for one in three] == ["IterMask3D, plain + flair", "IterMask3D, other"]


def test_a_z_score_is_high_where_a_brain_differs_from_the_mean(healthy: MeanBrain) -> None:
    before = case(1)
    spot = np.zeros_like(before.brain)
    spot[12:16, 30:34, 18:22] = True
    darker = replace(before.reference, array=np.where(spot, 60, before.reference.array))
    after = LoadedCase({"T1w": darker}, before.brain, None)
    usual, unusual = (ZScore(healthy).detect(each).score for each in (before, after))
    assert unusual[spot].mean() > usual[spot].mean() + 3
    assert np.median(unusual[before.brain]) < 1.5 and not unusual[~before.brain].any()


def test_a_mean_brain_is_computed_once_and_again_for_other_volumes(tmp_path: Path) -> None:
    volumes, followed = files(tmp_path, 3), list[Path]()

    def track(paths: list[Path]) -> list[Path]:
        followed.extend(paths)
        return paths

    first = mean_brain(volumes[:2], tmp_path / "mean.npz", track)
    again = mean_brain(volumes[:2], tmp_path / "mean.npz", track)
    assert followed == volumes[:2] and again.digest == first.digest
    assert mean_brain(volumes, tmp_path / "mean.npz").digest != first.digest
    with pytest.raises(UserError, match="at least two"):
        mean_brain(volumes[:1], tmp_path / "mean.npz")


def test_a_model_gives_what_segment_gives(scored: Model) -> None:
    one = case()
    detector = ModelDetector(scored, Request())
    found = detector.detect(one)
    brain = Image(one.brain, one.reference.affine, "brain")
    result = finish(run_case(Case.of(one.reference, brain), scored, Request()))
    np.testing.assert_array_equal(found.mask, result.array(ANOMALY))
    np.testing.assert_array_equal(found.score, result.array(HEATMAP))
    assert found.case_score == result.case_score
    (alike, _) = one_passes(detector)
    assert found.first_error == pytest.approx(alike.detect(one).score[one.brain].mean(), rel=1e-3)


def test_the_first_error_is_what_a_run_warns_by_where_the_method_has_it(tmp_path: Path) -> None:
    one, narrow = case(), load_model(scored_model(tmp_path / "narrow", known_errors=[100.0, 200.0]))
    found = ModelDetector(narrow, Request()).detect(one)
    brain = Image(one.brain, one.reference.affine, "brain")
    result = finish(run_case(Case.of(one.reference, brain), narrow, Request()))
    assert found.first_error == result.scalars["first_error"]
    assert f"its first error, {found.first_error:.3g}, is smaller than in all of them" in result.warnings[-1]


def test_one_pass_comes_with_the_plain_error_and_with_the_scoring_of_the_model(scored: Model, plain: Model) -> None:
    alike, squared = one_passes(ModelDetector(scored, Request()))
    assert (alike.name, squared.name) == ("one_pass_scored", "one_pass") and alike.identity() != squared.identity()
    one = case()
    found = squared.detect(one)
    expected = squared_error(one, found.reconstruction)
    np.testing.assert_allclose(found.score[one.brain], expected, rtol=1e-2, atol=1e-2)
    alike.detect(case(1))
    smooth = alike.detect(one).score
    # Smoothing never adds to the total error, and the table divides it by 4.
    assert 0 < smooth[one.brain].mean() < found.score[one.brain].mean() / 4
    published = ModelDetector(scored, Request(quality="published"))
    assert [each.scored for each in one_passes(published)] == [False]
    assert [each.scored for each in one_passes(ModelDetector(plain, Request()))] == [False]


def test_what_decides_a_result_is_in_the_identity(scored: Model) -> None:
    usual = ModelDetector(scored, Request()).identity()
    assert ModelDetector(scored, Request(settings={"gamma": 0.3})).identity() != usual
    assert ModelDetector(scored, Request(seed=2)).identity() != usual
    assert ModelDetector(scored, Request(backend="pytorch")).identity()["backend"] == "pytorch"
    retitled = replace(scored, card=replace(scored.card, title="Another", figures=()))
    assert ModelDetector(retitled, Request()).identity() == usual


def test_settings_of_other_methods_are_not_a_models(plain: Model) -> None:
    detector = ModelDetector(plain, Request(settings={"gamma": 0.3, "of_another_method": 7}))
    assert detector.request.settings == {"gamma": 0.3} and detector.settings.gamma == 0.3


def test_a_model_is_used_where_its_channels_are(plain: Model) -> None:
    detector = ModelDetector(plain, Request())
    assert detector.accepts(("T1w",)) and detector.accepts(("T2w",)) and detector.accepts(("FLAIR", "T1w"))
    assert not detector.accepts(("FLAIR", "T2w"))
    both = replace(plain, card=replace(plain.card, inputs=("T1w", "FLAIR")))
    assert not ModelDetector(both, Request()).accepts(("T1w",))
    one = case()
    second = replace(one.reference, name="second")
    of_two = LoadedCase({"FLAIR": second, "T1w": one.reference}, one.brain, None)
    assert detector.case_for(of_two).reference is one.reference
    assert list(ModelDetector(both, Request()).case_for(of_two).images) == ["T1w", "FLAIR"]
