"""Runs finders over trials, each process its share, and keeps what they did."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import BoolVolume
from IterMask3DLib.runtime.distributed import share, together
from IterMask3DLib.evaluation.baselines import with_threshold
from IterMask3DLib.evaluation.finders import Finder, Finding, Scorer, Thresholded
from IterMask3DLib.evaluation.metrics import dice_curve, measure
from IterMask3DLib.evaluation.protocols import Loaded, Trial
from IterMask3DLib.evaluation.store import Picture, Record, Store
from IterMask3DLib.results.slices import Frame, cut

OnCase = Callable[[int, int, str], None]
"""Hears how many cases of this process are done, how many it has, and which comes now."""


def run_trials(trials: Sequence[Trial], finders: Sequence[Finder], store: Store, on_case: OnCase = lambda done, count, name: None) -> None:
    """Lets every finder look at every trial of this process's share, unless its result is in the store; ends when all processes have.

    A failing case does not stop the others. Raises `UserError` in the end, in every process, if any case failed.
    """
    mine, failed = share(trials), 0
    for number, trial in enumerate(mine):
        on_case(number, len(mine), f"{trial.section} {trial.name}")
        missing = [finder for finder in finders if store.read(trial, finder) is None]
        if not missing:
            continue
        try:
            loaded = trial.load()
            for finder in missing:
                store.write(trial, finder, *_evaluated(trial, loaded, finder))
        except UserError as error:
            failed += 1
            print(f"error: {trial.name}: {error}", file=sys.stderr)
    on_case(len(mine), len(mine), "")
    failed = sum(together(failed))
    if failed:
        raise UserError(f"{failed} of {len(trials)} cases failed (see above); mend them and run again, what is done is kept.")


def calibrated(
    scorers: Sequence[Scorer], trials: Sequence[Trial], store: Store, on_case: OnCase = lambda done, count, name: None
) -> list[Thresholded]:
    """Each baseline with the threshold that has the best mean Dice over the calibration trials, found in the same way for all of them."""
    undecided = [Thresholded(scorer, float(np.inf)) for scorer in scorers]
    run_trials(trials, undecided, store, on_case)
    chosen = []
    for scorer, finder in zip(scorers, undecided, strict=True):
        curves = np.array([record.curve for record in records_of(trials, finder, store)])
        chosen.append(with_threshold(scorer, float(finder.thresholds[int(curves.mean(axis=0).argmax())])))
    return chosen


def records_of(trials: Sequence[Trial], finder: Finder, store: Store) -> list[Record]:
    """The finder's records of all trials, in their order. Raises `UserError` if one is missing."""
    found = []
    for trial in trials:
        record = store.read(trial, finder)
        if record is None:
            raise UserError(f"The result of {finder.name} for {trial.name} is missing; run the evaluation again.")
        found.append(record)
    return found


def _evaluated(trial: Trial, loaded: Loaded, finder: Finder) -> tuple[Record, Picture | None]:
    begun = time.perf_counter()
    finding = finder.find(loaded.volume, loaded.brain)
    seconds = time.perf_counter() - begun
    voxel_ml = float(np.prod(loaded.volume.spacing)) / 1000
    masked = int((finding.mask & loaded.brain).sum())
    calibrating = trial.section == "calibration"
    record = Record(
        finder=finder.name,
        section=trial.section,
        case=trial.name,
        subject=trial.subject,
        facts={**trial.facts, **loaded.facts},
        figures={} if calibrating else _figures(loaded, finding),
        curve=_curve(loaded, finding, finder.thresholds),
        masked_share=masked / int(loaded.brain.sum()),
        masked_ml=masked * voxel_ml,
        # Rounded, so that means that are equal by design (of ranks) are no ranking of rounding errors.
        mean_score=float(f"{finding.score[loaded.brain].mean(dtype=np.float64):.5g}"),
        seconds=round(seconds, 2),
        first_error=finding.first_error,
    )
    return record, None if calibrating else picture(loaded, finding)


def _figures(loaded: Loaded, finding: Finding) -> dict[str, float | None]:
    """All figures of a case; where it has no truth, nothing is there to be found."""
    truth = np.zeros_like(loaded.brain) if loaded.truth is None else loaded.truth
    volume = loaded.volume
    return measure(finding.mask, finding.score, truth, loaded.brain, volume.spacing, volume.array, finding.reconstruction).numbers()


def _curve(loaded: Loaded, finding: Finding, thresholds: NDArray[np.float64]) -> tuple[float, ...]:
    if loaded.truth is None:
        return ()
    return tuple(round(float(value), 6) for value in dice_curve(finding.score, loaded.truth & loaded.brain, loaded.brain, thresholds))


def picture(loaded: Loaded, finding: Finding) -> Picture:
    """The axial slice with most of the truth, or through the middle of the brain where there is none."""
    frame = Frame.of(loaded.volume.affine, loaded.volume.array.shape)
    brain = frame.turn(loaded.brain).astype(bool)
    truth = np.zeros_like(brain) if loaded.truth is None else frame.turn(loaded.truth).astype(bool) & brain
    index = int(truth.sum(axis=(0, 1)).argmax()) if truth.any() else int(np.median(np.flatnonzero(brain.any(axis=(0, 1)))))
    rows, columns = _margins(brain)

    def slice_of(array: NDArray[Any] | BoolVolume) -> NDArray[Any]:
        return cut(frame.turn(array)[rows, columns], "axial", index)

    return Picture(
        slice_of(np.where(loaded.brain, loaded.volume.array, 0)).astype(np.float32),
        cut(truth[rows, columns], "axial", index),
        slice_of(finding.mask & loaded.brain).astype(bool),
        slice_of(finding.score).astype(np.float32),
        frame.aspect("axial"),
    )


def _margins(brain: BoolVolume) -> tuple[slice, slice]:
    """The brain's box in the axial plane."""
    sides = []
    for axis in (0, 1):
        hits = np.flatnonzero(brain.any(axis=tuple(a for a in range(3) if a != axis)))
        sides.append(slice(max(0, int(hits[0]) - 2), int(hits[-1]) + 3))
    return sides[0], sides[1]
