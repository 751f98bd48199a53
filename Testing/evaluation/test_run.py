"""Runs go on where they stopped, thresholds come from calibration alone, and failing cases stop nothing but the table."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Image
from IterMask3DLib.evaluation.baselines import Intensity
from IterMask3DLib.evaluation.finders import Finding, Thresholded
from IterMask3DLib.evaluation.protocols import Loaded, Trial
from IterMask3DLib.evaluation.run import calibrated, records_of, run_trials
from IterMask3DLib.evaluation.store import Store

BRAIN = np.zeros((12, 12, 12), bool)
BRAIN[1:-1, 1:-1, 1:-1] = True


def loaded(number: int) -> Loaded:
    array = np.random.default_rng(number).random(BRAIN.shape).astype(np.float32)
    truth = np.zeros_like(BRAIN)
    truth[3:6, 3:6, 3:6] = True
    array[truth] += 0.7
    return Loaded(Image(np.where(BRAIN, array, 0), np.eye(4), f"case{number}"), BRAIN, truth, {"size": "small"})


def trial(number: int, section: str = "strokes") -> Trial:
    return Trial(section, f"case{number}", f"sub-{number}", {"number": number}, lambda: loaded(number))


@dataclass
class Brightness:
    """A scorer that counts its calls; as a finder, with a threshold of 1."""

    calls: list[str] = field(default_factory=list)
    strength: float = 1.0
    name: str = "brightness"
    title: str = "Brightness"

    @property
    def thresholds(self) -> np.ndarray:
        return np.linspace(0, 2, 21)

    def identity(self) -> dict[str, float]:
        return {"strength": self.strength}

    def score(self, volume: Image, brain: np.ndarray) -> tuple[np.ndarray, None]:
        self.calls.append(volume.name)
        return self.strength * volume.array, None

    def find(self, volume: Image, brain: np.ndarray) -> Finding:
        score, _ = self.score(volume, brain)
        return Finding(score > 1, score)


def test_a_second_run_computes_only_what_is_missing(tmp_path: Path) -> None:
    trials, finder, store = [trial(n) for n in range(4)], Brightness(), Store(tmp_path)
    run_trials(trials[:2], [finder], store)
    run_trials(trials, [finder], store)
    assert finder.calls == ["case0", "case1", "case2", "case3"]
    before = records_of(trials, finder, store)
    (tmp_path / "cases" / "strokes" / "case2" / "brightness.json").write_text('{"key": "tru', encoding="utf-8")
    run_trials(trials, [finder], store)
    assert finder.calls[4:] == ["case2"]
    assert [record.figures for record in records_of(trials, finder, store)] == [record.figures for record in before]


def test_another_finder_or_another_case_under_the_same_name_is_computed_again(tmp_path: Path) -> None:
    store, finder, other = Store(tmp_path), Brightness(), Brightness(strength=2.0)
    run_trials([trial(0)], [finder], store)
    run_trials([trial(0)], [other], store)
    assert other.calls == ["case0"]
    moved = Trial("strokes", "case0", "sub-0", {"number": 7}, lambda: loaded(7))
    run_trials([moved], [other], store)
    assert other.calls == ["case0", "case7"]


def test_a_failing_case_stops_no_other_and_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> Loaded:
        raise UserError("bad.nii.gz is empty.")

    trials = [Trial("strokes", "bad", "sub-9", {}, broken), trial(1)]
    finder, store = Brightness(), Store(tmp_path)
    with pytest.raises(UserError, match="1 of 2 cases failed"):
        run_trials(trials, [finder], store)
    assert finder.calls == ["case1"] and store.read(trials[1], finder) is not None
    assert "error: bad: bad.nii.gz is empty." in capsys.readouterr().err
    with pytest.raises(UserError, match="brightness for bad is missing"):
        records_of(trials, finder, store)


def test_a_baseline_takes_the_threshold_with_the_best_mean_dice_on_calibration(tmp_path: Path) -> None:
    trials = [trial(n, "calibration") for n in range(3)]
    scorer = Brightness()
    (chosen,) = calibrated([scorer], trials, Store(tmp_path))

    def mean_dice(threshold: float) -> float:
        values = []
        for n in range(3):
            case = loaded(n)
            mask = (case.volume.array > threshold) & BRAIN
            values.append(2 * (mask & case.truth).sum() / (mask.sum() + case.truth.sum()))
        return float(np.mean(values))

    best = max(scorer.thresholds, key=mean_dice)
    assert mean_dice(chosen.threshold) == pytest.approx(mean_dice(best)) and 0.8 <= chosen.threshold <= 1.1


def test_small_components_leave_the_mask_where_that_is_asked_for() -> None:
    array = np.zeros(BRAIN.shape, np.float32)
    array[2:5, 2:5, 2:5] = array[8, 8, 8] = 1.5
    volume = Image(array, np.eye(4), "spots")
    assert Thresholded(Brightness(), 1.0).find(volume, BRAIN).mask.sum() == 28
    assert Thresholded(Brightness(), 1.0, smallest_voxels=20).find(volume, BRAIN).mask.sum() == 27


def test_pictures_show_the_slice_with_most_of_the_truth(tmp_path: Path) -> None:
    finder, store, one = Brightness(), Store(tmp_path), trial(0)
    run_trials([one], [finder], store)
    picture = store.picture(one, finder)
    assert picture is not None and picture.truth.sum() == 9
    assert picture.volume.shape == picture.mask.shape == picture.score.shape == picture.truth.shape


def test_ranks_have_the_same_mean_in_every_volume(tmp_path: Path) -> None:
    trials, finder, store = [trial(n) for n in range(5)], Thresholded(Intensity("dark"), 0.9), Store(tmp_path)
    run_trials(trials, [finder], store)
    assert {record.mean_score for record in records_of(trials, finder, store)} == {0.5}
