"""Results of single cases on disk, so that a killed run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.files import json_text, whole_file, write_text
from IterMask3DLib.core.versions import versions
from IterMask3DLib.evaluation.cases import EvaluationCase
from IterMask3DLib.evaluation.detectors import Detector

PACKAGES = ("torchio", "openvino")
"""Distributions beside the usual ones that can change a result."""


@dataclass(frozen=True)
class CaseRecord:
    """What one detector did on one case; None where it does not have what is measured.

    Attributes:
        detector, section, case, subject: whose and of what.
        facts: of the evaluation case and of the loaded one.
        figures: of `metrics.measure`.
        curve: Dice at each threshold of the detector, where there is a truth.
        masked_share, masked_ml: of the brain, in the own mask.
        mean_score: over the brain; first_error, case_score: see `Detection`.
        seconds: that it took.
    """

    detector: str
    section: str
    case: str
    subject: str
    facts: Mapping[str, Any]
    figures: Mapping[str, float | None]
    curve: tuple[float, ...]
    masked_share: float | None
    masked_ml: float | None
    mean_score: float | None
    seconds: float
    first_error: float | None = None
    case_score: float | None = None


@dataclass(frozen=True)
class CaseSlice:
    """One slice of a case, [row, column] with the first row at the top, for the page; `aspect`: of a pixel."""

    volume: NDArray[np.float32]
    truth: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    aspect: float


class RecordStore:
    """The folder `cases` of a run: one JSON file, and for slices one NPZ file, for each case and detector."""

    def __init__(self, out: Path) -> None:
        self._root, self._versions = out / "cases", versions(*PACKAGES)

    def read(self, case: EvaluationCase, detector: Detector) -> CaseRecord | None:
        """What is there, if it is of the same case by the same detector in the same versions."""
        try:
            raw = json.loads(self._path(case, detector).read_text(encoding="utf-8"))
            if raw["key"] != self._key(case, detector):
                return None
            return CaseRecord(**{**raw["record"], "curve": tuple(raw["record"]["curve"])})
        except (OSError, ValueError, KeyError, TypeError):
            # Not there, or damaged: computed again.
            return None

    def write(self, case: EvaluationCase, detector: Detector, record: CaseRecord, picture: CaseSlice | None) -> None:
        path = self._path(case, detector)
        path.parent.mkdir(parents=True, exist_ok=True)
        if picture is not None:
            # First, so that a record on disk means that its picture is there too.
            with whole_file(path.with_suffix(".npz")) as part:
                np.savez_compressed(part, **asdict(picture))
        write_text(path, json_text({"key": self._key(case, detector), "record": asdict(record)}))

    def picture(self, case: EvaluationCase, detector: Detector) -> CaseSlice | None:
        try:
            with np.load(self._path(case, detector).with_suffix(".npz")) as stored:
                arrays = {each.name: stored[each.name] for each in fields(CaseSlice)}
                return CaseSlice(**{**arrays, "aspect": float(arrays["aspect"])})
        except (OSError, ValueError, KeyError):
            return None

    def _path(self, case: EvaluationCase, detector: Detector) -> Path:
        return self._root / case.section / case.name / f"{detector.name}.json"

    def _key(self, case: EvaluationCase, detector: Detector) -> str:
        """Changes whenever the case, the detector or the software does."""
        deciding = {
            "versions": self._versions,
            "facts": case.facts,
            "detector": detector.identity(),
            "thresholds": detector.thresholds.tolist(),
        }
        return hashlib.sha256(json_text(deciding).encode()).hexdigest()
