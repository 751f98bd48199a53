"""Runs detectors over cases, each process its shard, and keeps what they did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import bounding_box
from IterMask3DLib.evaluation.cases import CALIBRATION, EvaluationCase, LoadedCase
from IterMask3DLib.evaluation.detectors import Detection, Detector, Thresholded
from IterMask3DLib.evaluation.metrics import dice_curve, measure
from IterMask3DLib.evaluation.records import CaseRecord, CaseSlice, RecordStore
from IterMask3DLib.results.slices import Frame, cut
from IterMask3DLib.runtime.distributed import all_gather, shard

Track = Callable[[Sequence[EvaluationCase]], Iterable[EvaluationCase]]
"""Gives cases one by one, and may say how far it is."""
_MARGIN = 2


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
            for detector in missing:
                store.write(case, detector, *_evaluated(case, loaded, detector))
        except UserError as error:
            failed += 1
            on_problem(f"{case.name}: {error}")
    failed = sum(all_gather(failed))
    if failed:
        raise UserError(
            f"{failed} of {len(cases)} cases failed (see above); correct them and run again, what is done is kept."
        )


def calibrated(
    detectors: Sequence[Detector], cases: Sequence[EvaluationCase], store: RecordStore, **how: Any
) -> list[Detector]:
    """The detectors, each without a mask of its own with the threshold whose mean Dice over the cases is best.

    Args:
        detectors: whether one has a mask of its own is found out on the first case; without a score it stays as it is.
        how: `track` and `on_problem` of `run_cases`.
    """
    run_cases(cases[:1], detectors, store, on_problem=how.get("on_problem", lambda sentence: None))
    first = {d.name: store.read(cases[0], d) for d in detectors}
    undecided = [d for d in detectors if (record := first[d.name]) and record.masked_share is None and record.curve]
    run_cases(cases, undecided, store, **how)
    chosen = []
    for detector in detectors:
        if detector in undecided:
            curves = np.array([record.curve for record in records_of(cases, detector, store)])
            best = int(curves.mean(axis=0).argmax())
            detector = Thresholded(detector, float(detector.thresholds[best]))
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


def _evaluated(case: EvaluationCase, loaded: LoadedCase, detector: Detector) -> tuple[CaseRecord, CaseSlice | None]:
    begun = time.perf_counter()
    found = detector.detect(loaded)
    seconds = time.perf_counter() - begun
    calibrating, brain = case.section == CALIBRATION, loaded.brain
    masked = None if found.mask is None else int((found.mask & brain).sum())
    truth = np.zeros_like(brain) if loaded.truth is None else loaded.truth
    figures = measure(loaded.reference, brain, truth, found.mask, found.score, found.reconstruction)
    record = CaseRecord(
        detector=detector.name,
        section=case.section,
        case=case.name,
        subject=case.subject,
        facts={**case.facts, **loaded.facts},
        figures={} if calibrating else figures,
        curve=_curve(loaded, found, detector.thresholds),
        masked_share=None if masked is None else masked / int(brain.sum()),
        masked_ml=None if masked is None else masked * loaded.reference.voxel_ml,
        mean_score=None if found.score is None else _rounded(found.score[brain].mean(dtype=np.float64)),
        seconds=round(seconds, 2),
        first_error=found.first_error,
        case_score=None if found.case_score is None else _rounded(found.case_score),
    )
    return record, None if calibrating else picture(loaded, found)


def _curve(loaded: LoadedCase, found: Detection, thresholds: NDArray[np.float64]) -> tuple[float, ...]:
    if loaded.truth is None or found.score is None:
        return ()
    curve = dice_curve(found.score, loaded.truth & loaded.brain, loaded.brain, thresholds)
    return tuple(round(float(value), 6) for value in curve)


def _rounded(value: float) -> float:
    """To five digits, so that means that are equal by design (of ranks) are no ranking of rounding errors."""
    return float(f"{value:.5g}")


def picture(loaded: LoadedCase, found: Detection) -> CaseSlice:
    """The axial slice with most of the truth, or through the middle of the brain where there is none."""
    reference = loaded.reference
    frame = Frame.of(reference.affine, reference.array.shape)
    volume, brain, truth, mask = (
        frame.turn(np.zeros_like(loaded.brain) if array is None else array * loaded.brain)
        for array in (reference.array, loaded.brain, loaded.truth, found.mask)
    )
    middle = np.median(np.flatnonzero(brain.any(axis=(0, 1))))
    index = int(truth.sum(axis=(0, 1)).argmax() if truth.any() else middle)
    box = bounding_box(brain.astype(bool), _MARGIN)
    assert box is not None
    slices = [cut(array[box[:2]], "axial", index) for array in (volume, truth, mask)]
    return CaseSlice(
        slices[0].astype(np.float32), slices[1].astype(bool), slices[2].astype(bool), frame.aspect("axial")
    )
