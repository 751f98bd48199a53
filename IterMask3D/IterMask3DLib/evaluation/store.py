"""Results of single cases on disk, so that a killed run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib import __version__
from IterMask3DLib.evaluation.finders import Finder
from IterMask3DLib.evaluation.protocols import Trial


@dataclass(frozen=True)
class Record:
    """What one finder did on one case.

    `figures`: of `metrics.Segmentation`, where there is a truth; `curve`: Dice at each threshold of the finder, likewise; `masked_share`, `mean_score`
    (over the brain) and `first_error` (see `Finding`): the scores for detection; `masked_ml`; `facts`: of the trial and of the loaded case.
    """

    finder: str
    section: str
    case: str
    subject: str
    facts: Mapping[str, Any]
    figures: Mapping[str, float | None]
    curve: tuple[float, ...]
    masked_share: float
    masked_ml: float
    mean_score: float
    seconds: float
    first_error: float | None = None


@dataclass(frozen=True)
class Picture:
    """One slice of a case, [row, column] with the first row at the top, for the page."""

    volume: NDArray[np.float32]
    truth: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    score: NDArray[np.float32]
    aspect: float


class Store:
    """The folder `cases` of a run: one JSON file, and for pictures one NPZ file, for each case and finder."""

    def __init__(self, out: Path) -> None:
        self._root = out / "cases"

    def read(self, trial: Trial, finder: Finder) -> Record | None:
        """What is there, if it was made of the same case by the same finder in the same version."""
        try:
            raw = json.loads(self._path(trial, finder).read_text(encoding="utf-8"))
            if raw["key"] != _key(trial, finder):
                return None
            return Record(**{**raw["record"], "curve": tuple(raw["record"]["curve"])})
        except (OSError, ValueError, KeyError, TypeError):
            # Not there, or damaged: computed again.
            return None

    def write(self, trial: Trial, finder: Finder, record: Record, picture: Picture | None) -> None:
        path = self._path(trial, finder)
        path.parent.mkdir(parents=True, exist_ok=True)
        if picture is not None:
            # First, so that a record on disk means that its picture is there too.
            beside = path.with_name(f".{path.stem}.{os.getpid()}.npz")
            np.savez_compressed(beside, **{**asdict(picture), "score": picture.score.astype(np.float16)})
            os.replace(beside, path.with_suffix(".npz"))
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        text = json.dumps({"key": _key(trial, finder), "record": asdict(record)}, allow_nan=False)
        beside.write_text(text + "\n", encoding="utf-8")
        os.replace(beside, path)

    def picture(self, trial: Trial, finder: Finder) -> Picture | None:
        try:
            with np.load(self._path(trial, finder).with_suffix(".npz")) as stored:
                return Picture(
                    stored["volume"], stored["truth"], stored["mask"], stored["score"].astype(np.float32), float(stored["aspect"])
                )
        except (OSError, ValueError, KeyError):
            return None

    def _path(self, trial: Trial, finder: Finder) -> Path:
        return self._root / trial.section / trial.name / f"{finder.name}.json"


def _key(trial: Trial, finder: Finder) -> str:
    """Changes whenever the case, the finder or the software does."""
    deciding = {"version": __version__, "facts": trial.facts, "finder": finder.identity(), "thresholds": len(finder.thresholds)}
    return hashlib.sha256(json.dumps(deciding, sort_keys=True, default=str).encode()).hexdigest()
