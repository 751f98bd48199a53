"""Runs go on where they stopped, thresholds come from calibration alone, and a failing case stops only the table."""

from __future__ import annotations

from collections.abc import Collection
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Image
from IterMask3DLib.evaluation.baselines import Intensity
from IterMask3DLib.evaluation.cases import EvaluationCase, LoadedCase
from IterMask3DLib.evaluation.detectors import Detection, Detector, Thresholded
from IterMask3DLib.evaluation.examples import slice_png
from IterMask3DLib.evaluation.records import VOLUME, RecordStore
from IterMask3DLib.evaluation.run import calibrated, records_of, run_cases

BRAIN = np.zeros((12, 12, 12), bool)
BRAIN[1:-1, 1:-1, 1:-1] = True


def loaded(number: int) -> LoadedCase:
    array = np.random.default_rng(number).random(BRAIN.shape).astype(np.float32)
    truth = np.zeros_like(BRAIN)
    truth[3:6, 3:6, 3:6] = True
    array[truth] += 0.7
    image = Image(np.where(BRAIN, array, 0), np.eye(4), f"case{number}")
    return LoadedCase({"T1w": image}, BRAIN, truth, {"size": "small"})


def stroke(number: int, section: str = "strokes") -> EvaluationCase:
    return EvaluationCase(section, f"case{number}", f"sub-{number}", {"number": number}, lambda: loaded(number))


class Brightness(Detector):
    """Scores by brightness and counts its calls; its mask is what is above 1, where it has one."""

    name = title = "brightness"
    thresholds = np.linspace(0, 2, 21)

    def __init__(self, strength: float = 1.0, has_mask: bool = True) -> None:
        self.strength, self.has_mask = strength, has_mask
        self.calls: list[str] = []

    def identity(self) -> dict[str, float]:
        return {"strength": self.strength}

    def detect(self, case: LoadedCase) -> Detection:
        self.calls.append(case.reference.name)
        score = self.strength * case.reference.array
        return Detection(score > 1 if self.has_mask else None, score)


def test_a_second_run_computes_only_what_is_missing(tmp_path: Path) -> None:
    cases, detector, store = [stroke(n) for n in range(4)], Brightness(), RecordStore(tmp_path)
    run_cases(cases[:2], [detector], store)
    run_cases(cases, [detector], store)
    assert detector.calls == ["case0", "case1", "case2", "case3"]
    before = records_of(cases, detector, store)
    (tmp_path / "cases" / "strokes" / "case2" / "brightness.json").write_text('{"key": "tru', encoding="utf-8")
    run_cases(cases, [detector], store)
    assert detector.calls[4:] == ["case2"]
    assert [record.figures for record in records_of(cases, detector, store)] == [record.figures for record in before]


def test_another_detector_or_another_case_under_the_same_name_is_computed_again(tmp_path: Path) -> None:
    store, detector, other = RecordStore(tmp_path), Brightness(), Brightness(strength=2.0)
    run_cases([stroke(0)], [detector], store)
    run_cases([stroke(0)], [other], store)
    assert other.calls == ["case0"]
    moved = EvaluationCase("strokes", "case0", "sub-0", {"number": 7}, lambda: loaded(7))
    run_cases([moved], [other], store)
    assert other.calls == ["case0", "case7"]


def test_a_failing_case_stops_no_other_and_is_named(tmp_path: Path) -> None:
    def broken() -> LoadedCase:
        raise UserError("bad.nii.gz is empty.")

    cases = [EvaluationCase("strokes", "bad", "sub-9", {}, broken), stroke(1)]
    detector, store, problems = Brightness(), RecordStore(tmp_path), list[str]()
    with pytest.raises(UserError, match="1 of 2 cases failed"):
        run_cases(cases, [detector], store, on_problem=problems.append)
    assert detector.calls == ["case1"] and store.read(cases[1], detector) is not None
    assert problems == ["bad: bad.nii.gz is empty."]
    with pytest.raises(UserError, match="brightness for bad is missing"):
        records_of(cases, detector, store)


def test_a_baseline_takes_the_threshold_with_the_best_mean_dice_on_calibration(tmp_path: Path) -> None:
    cases = [stroke(n, "calibration") for n in range(3)]
    scorer, decided = Brightness(has_mask=False), Brightness(strength=3.0)
    decided.name = "decided"
    chosen, same = calibrated([scorer, decided], cases, RecordStore(tmp_path))
    # One with a mask of its own is asked once, and stays.
    assert same is decided and decided.calls == ["case0"]

    def mean_dice(threshold: float) -> float:
        values = []
        for n in range(3):
            case = loaded(n)
            mask = (case.reference.array > threshold) & BRAIN
            values.append(2 * (mask & case.truth).sum() / (mask.sum() + case.truth.sum()))
        return float(np.mean(values))

    best = max(scorer.thresholds, key=mean_dice)
    assert (
        mean_dice(chosen.threshold["T1w"]) == pytest.approx(mean_dice(best)) and 0.8 <= chosen.threshold["T1w"] <= 1.1
    )


def test_small_components_leave_the_mask_where_that_is_asked_for() -> None:
    array = np.zeros(BRAIN.shape, np.float32)
    array[2:5, 2:5, 2:5] = array[8, 8, 8] = 1.5
    case = LoadedCase({"T1w": Image(array, np.eye(4), "spots")}, BRAIN, None)
    brightness = Brightness()
    assert Thresholded(brightness, {"T1w": 1.0}).detect(case).mask.sum() == 28
    brightness.smallest_voxels = 20
    assert Thresholded(brightness, {"T1w": 1.0}).detect(case).mask.sum() == 27


def orange(png: bytes) -> int:
    """Pixels of a picture that are filled with the colour of masks."""
    red, green, blue = np.moveaxis(imread(BytesIO(png))[..., :3], -1, 0)
    return int(((red > blue + 0.3) & (red > green + 0.1)).sum())


def test_pictures_show_the_mask_on_the_slice_with_most_of_the_truth(tmp_path: Path) -> None:
    case = loaded(0)
    case.truth[3:8, 3:8, 5] = True
    there, elsewhere = np.zeros_like(BRAIN), np.zeros_like(BRAIN)
    there[4:7, 4:7, 5] = elsewhere[4:7, 4:7, 6] = True
    assert (
        orange(slice_png(case, there)) > 100
        and orange(slice_png(case, elsewhere)) == orange(slice_png(case, None)) == 0
    )
    detector, store = Brightness(), RecordStore(tmp_path)
    run_cases([stroke(0)], [detector], store)
    assert orange(store.picture(stroke(0), detector.name)) > 0 == orange(store.picture(stroke(0), VOLUME))


def test_a_detector_is_not_given_what_it_cannot_use(tmp_path: Path) -> None:
    class Picky(Brightness):
        def accepts(self, channels: Collection[str]) -> bool:
            return "FLAIR" in channels

    detector, store = Picky(), RecordStore(tmp_path)
    run_cases([stroke(0)], [detector], store)
    assert detector.calls == [] and records_of([stroke(0)], detector, store) == []
    assert calibrated([detector], [stroke(0, "calibration")], store) == [detector]


def test_a_detector_with_a_score_of_the_case_alone_is_recorded_without_figures(tmp_path: Path) -> None:
    class CaseScore(Brightness):
        def detect(self, case: LoadedCase) -> Detection:
            return Detection(case_score=float(case.reference.array.mean()))

    cases, detector, store = [stroke(0), stroke(1)], CaseScore(), RecordStore(tmp_path)
    run_cases(cases, [detector], store)
    record = records_of(cases, detector, store)[0]
    assert record.case_score == pytest.approx(loaded(0).reference.array.mean(), rel=1e-4)
    assert record.masked_share is record.mean_score is record.figures["dice"] is None and record.curve == ()
    assert calibrated([detector], [stroke(0, "calibration")], store) == [detector]


def test_ranks_have_the_same_mean_in_every_volume(tmp_path: Path) -> None:
    cases, detector, store = (
        [stroke(n) for n in range(5)],
        Thresholded(Intensity(), {"T1w": 0.9}),
        RecordStore(tmp_path),
    )
    run_cases(cases, [detector], store)
    assert {record.mean_score for record in records_of(cases, detector, store)} == {0.5}
