"""Runs detectors over cases, each process its shard, and keeps what they did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.failures import explained, is_interrupt
from IterMask3DLib.evaluation.cases import CALIBRATION, EvaluationCase, LoadedCase, contrast_of
from IterMask3DLib.evaluation.detectors import Detection, Detector, Thresholded
from IterMask3DLib.evaluation.examples import slice_png
from IterMask3DLib.evaluation.metrics import LesionMatch, dice_curve, froc_points, measure, slice_scores
from IterMask3DLib.evaluation.records import VOLUME, CaseRecord, RecordStore
from IterMask3DLib.runtime.distributed import all_gather, shard

Track = Callable[[Sequence[EvaluationCase]], Iterable[EvaluationCase]]
"""Gives cases one by one, and may say how far it is."""


def run_cases(
    cases: Sequence[EvaluationCase],
    detectors: Sequence[Detector],
    store: RecordStore,
    track: Track = iter,
    on_problem: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Gives every case of this process's shard to every detector that accepts it, unless the result is in the store.

    Ends when all processes have. A failing case does not stop the others: `on_problem` hears of it, and in the end
    there is a `UserError`, in every process, if any case failed.
    """
    failed = 0
    for case in track(shard(cases)):
        missing = [d for d in detectors if d.accepts(case.channels) and store.read(case, d) is None]
        if not missing:
            continue
        try:
            loaded = case.load()
            if case.section != CALIBRATION:
                store.write_picture(case, VOLUME, slice_png(loaded, None))
            for detector in missing:
                found, seconds = _timed(detector, loaded)
                if case.section != CALIBRATION:
                    # First, so that a record on disk means that its picture is there too.
                    store.write_picture(case, detector.name, slice_png(loaded, found.mask))
                store.write(case, detector, _record(case, loaded, detector, found, seconds))
        except Exception as error:  # Hours of other cases must not be lost to whatever is wrong with one.
            if is_interrupt(error):
                raise KeyboardInterrupt from error
            failed += 1
            on_problem(f"{case.name}: {explained(error)}")
    failed = sum(all_gather(failed))
    if failed:
        raise UserError(
            f"{failed} of {len(cases)} cases failed (see above); correct them and run again, what is done is kept."
        )


def calibrated(
    detectors: Sequence[Detector], cases: Sequence[EvaluationCase], store: RecordStore, **how: Any
) -> list[Detector]:
    """The detectors, each without a mask of its own with the threshold whose mean Dice is best, for each contrast.

    Args:
        detectors: whether one has a mask of its own is found out on its first case; without a score it stays as it is.
        cases: to choose on; a contrast without any has no threshold.
        how: `track` and `on_problem` of `run_cases`.
    """
    undecided = []
    for detector in detectors:
        first = next((case for case in cases if detector.accepts(case.channels)), None)
        if first is None:
            continue
        run_cases([first], [detector], store, on_problem=how.get("on_problem", lambda sentence: None))
        record = store.read(first, detector)
        if record and record.masked_share is None and record.curve:
            undecided.append(detector)
    run_cases(cases, undecided, store, **how)
    chosen = []
    for detector in detectors:
        if detector in undecided:
            thresholds = {}
            for contrast in dict.fromkeys(contrast_of(c.channels) for c in cases if detector.accepts(c.channels)):
                alike = [case for case in cases if contrast_of(case.channels) == contrast]
                curves = np.array([record.curve for record in records_of(alike, detector, store)])
                thresholds[contrast] = float(detector.thresholds[int(curves.mean(axis=0).argmax())])
            detector = Thresholded(detector, thresholds)
        chosen.append(detector)
    return chosen


def records_of(cases: Sequence[EvaluationCase], detector: Detector, store: RecordStore) -> list[CaseRecord]:
    """The detector's records of all cases that it accepts, in their order. Raises `UserError` if one is missing."""
    found = []
    for case in cases:
        if not detector.accepts(case.channels):
            continue
        record = store.read(case, detector)
        if record is None:
            raise UserError(f"The result of {detector.name} for {case.name} is missing; run the evaluation again.")
        found.append(record)
    return found


def _record(
    case: EvaluationCase, loaded: LoadedCase, detector: Detector, found: Detection, seconds: float
) -> CaseRecord:
    brain = loaded.brain
    truth = np.zeros_like(brain) if loaded.truth is None else loaded.truth
    figures = measure(loaded.reference, brain, truth, found.mask, found.score, found.reconstruction)
    mask = np.zeros_like(brain) if found.mask is None else found.mask & brain
    match = LesionMatch.of(mask, truth & brain)
    lesions = zip(match.voxels * loaded.reference.voxel_ml, match.covered, strict=True)
    masked = None if found.mask is None else int(mask.sum())
    points: list[tuple[int, int]] = []
    if loaded.truth is not None and found.score is not None:
        points = froc_points(found.score, truth, brain, detector.thresholds)
    in_slices: list[tuple[float, int]] = []
    by_voxel = found.score if found.slices is None else found.slices
    if loaded.truth is not None and by_voxel is not None:
        in_slices = slice_scores(by_voxel, truth, brain, loaded.reference.affine)
    return CaseRecord(
        detector=detector.name,
        section=case.section,
        case=case.name,
        subject=case.subject,
        facts={**case.facts, **loaded.facts},
        figures=figures,
        curve=_curve(loaded, found, detector.thresholds),
        masked_share=None if masked is None else masked / int(brain.sum()),
        masked_ml=None if masked is None else masked * loaded.reference.voxel_ml,
        mean_score=None if found.score is None else _rounded(found.score[brain].mean(dtype=np.float64)),
        seconds=round(seconds, 2),
        first_error=found.first_error,
        case_score=None if found.case_score is None else _rounded(found.case_score),
        lesions=tuple((_rounded(millilitres), _rounded(share)) for millilitres, share in lesions),
        false_lesions=None if found.mask is None else match.components - match.right,
        froc=tuple(points),
        slices=tuple((_rounded(score), abnormal) for score, abnormal in in_slices),
    )


def _timed(detector: Detector, case: LoadedCase) -> tuple[Detection, float]:
    begun = time.perf_counter()
    return detector.detect(case), time.perf_counter() - begun


def _curve(loaded: LoadedCase, found: Detection, thresholds: NDArray[np.float64]) -> tuple[float, ...]:
    if loaded.truth is None or found.score is None:
        return ()
    curve = dice_curve(found.score, loaded.truth & loaded.brain, loaded.brain, thresholds)
    return tuple(round(float(value), 6) for value in curve)


def _rounded(value: float) -> float:
    """To five digits, so that means that are equal by design (of ranks) are no ranking of rounding errors."""
    return float(f"{value:.5g}")
