"""Results of single cases on disk, so that a killed run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import json_text, reason, whole_file, write_text
from IterMask3DLib.core.versions import versions
from IterMask3DLib.evaluation.cases import EvaluationCase
from IterMask3DLib.evaluation.detectors import Detector

PACKAGES = ("torchio", "openvino")
"""Distributions beside the usual ones that can change a result."""

CASES = "cases"
"""Folder of single cases in that of an evaluation."""

VOLUME = "_volume"
"""Name of the picture that shows no detector's mask."""


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
        lesions: millilitres of each true lesion, and the share of it in the own mask (0 without one).
        false_lesions: components of the own mask that are not right; froc: see `metrics.froc_points`.
        slices: see `metrics.slice_scores`.
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
    lesions: tuple[tuple[float, float], ...] = ()
    false_lesions: int | None = None
    froc: tuple[tuple[int, int], ...] = ()
    slices: tuple[tuple[float, int], ...] = ()


class RecordStore:
    """The folder `cases` of a run: one JSON file and one picture for each case and detector."""

    def __init__(self, out: Path) -> None:
        self._root, self._versions = out / CASES, versions(*PACKAGES)

    def read(self, case: EvaluationCase, detector: Detector) -> CaseRecord | None:
        """What is there, if it is of the same case by the same detector in the same versions."""
        try:
            raw = json.loads(self._path(case, detector.name, ".json").read_text(encoding="utf-8"))
            if raw["key"] != self._key(case, detector):
                return None
            lists = {name: tuple(map(tuple, raw["record"][name])) for name in ("lesions", "froc", "slices")}
            return CaseRecord(**{**raw["record"], "curve": tuple(raw["record"]["curve"]), **lists})
        except (OSError, ValueError, KeyError, TypeError):
            # Not there, or damaged: computed again.
            return None

    def write(self, case: EvaluationCase, detector: Detector, record: CaseRecord) -> None:
        path = self._path(case, detector.name, ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json_text({"key": self._key(case, detector), "record": asdict(record)}))

    def write_picture(self, case: EvaluationCase, name: str, png: bytes) -> None:
        """Keeps a picture of a case: of a detector's mask, by its name, or of the volume."""
        path = self._path(case, name, ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_bytes(png)

    def picture(self, case: EvaluationCase, name: str) -> bytes:
        """A picture that was kept. Raises `UserError`."""
        path = self._path(case, name, ".png")
        try:
            return path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read ({reason(error)}); remove {path.parent} and run again.") from None

    def _path(self, case: EvaluationCase, name: str, ending: str) -> Path:
        return self._root / case.section / case.name / f"{name}{ending}"

    def _key(self, case: EvaluationCase, detector: Detector) -> str:
        """Changes whenever the case, the detector or the software does."""
        deciding = {
            "versions": self._versions,
            "facts": case.facts,
            "detector": detector.identity(),
            "thresholds": detector.thresholds.tolist(),
        }
        return hashlib.sha256(json_text(deciding).encode()).hexdigest()
