"""Which cases are evaluated: synthetic strokes, artefacts and healthy brains made of a healthy cohort, and volumes with labels."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from IterMask3DLib.preprocessing.skull_stripping import find_brain
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Affine, BoolVolume, Image
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.evaluation.artefacts import KINDS, SEVERITIES, Artefact, corrupt
from IterMask3DLib.evaluation.atlas import mni_to_brain
from IterMask3DLib.evaluation.labelled import Labelled
from IterMask3DLib.evaluation.lesions import Pair, paint_shape, plan_pairs, shape_files

Section = Literal["calibration", "strokes", "healthy", "artefacts", "labelled"]
CALIBRATION_PER_BRAIN, STROKES_PER_BRAIN = 3, 4
BRAINS_PER_ARTEFACT = {"mild": 2, "medium": 8, "severe": 2}


@dataclass(frozen=True)
class Loaded:
    """A case in memory, [i, j, k] on the grid of `volume`; `truth` is None where nothing is anomalous or no mask of it is known."""

    volume: Image
    brain: BoolVolume
    truth: BoolVolume | None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """A case before it is loaded.

    `name`: unique within its section, safe as a file name; `subject`: whose brain it is, the unit of the bootstrap; `facts`: all that decides the
    case, JSON-able.
    """

    section: Section
    name: str
    subject: str
    facts: Mapping[str, Any]
    load: Callable[[], Loaded]


@dataclass(frozen=True)
class Cohort:
    """Healthy stripped volumes by what they are for: their files, in the order of the table."""

    train: tuple[Path, ...]
    val: tuple[Path, ...]
    test: tuple[Path, ...]


def read_cohort(folder: Path) -> Cohort:
    """The volumes of a BIDS folder whose `participants.tsv` has the columns `participant_id` and `split` (train, val, test). Raises `UserError`."""
    table = folder / "participants.tsv"
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        found = {
            split: tuple(_t1(folder, row["participant_id"]) for row in rows if row["split"] == split) for split in ("train", "val", "test")
        }
    except OSError as error:
        raise UserError(f"{table} cannot be read ({error.strerror}); give the folder of a healthy cohort.") from None
    except KeyError as error:
        raise UserError(f"{table} has no column {error}; it needs participant_id and split.") from None
    for split, files in found.items():
        if not files:
            raise UserError(f"{table} has no subject whose split is {split}.")
    return Cohort(**found)


def calibration_trials(brains: Sequence[Path], shapes: Path, seed: int) -> list[Trial]:
    """Strokes of the tuning shapes in validation brains: what the thresholds of the baselines are chosen on."""
    pairs = plan_pairs(shape_files(shapes, "tune"), len(brains), CALIBRATION_PER_BRAIN, seed)
    return _stroke_trials("calibration", brains, pairs)


def stroke_trials(brains: Sequence[Path], shapes: Path, seed: int) -> list[Trial]:
    """Strokes of the reporting shapes, four in each brain (each alone), from small to large."""
    pairs = plan_pairs(shape_files(shapes, "report"), len(brains), STROKES_PER_BRAIN, seed)
    return _stroke_trials("strokes", brains, pairs)


def healthy_trials(brains: Sequence[Path]) -> list[Trial]:
    """Healthy brains as they are."""
    return [Trial("healthy", _subject(path), _subject(path), _file(path), partial(_load_healthy, path)) for path in brains]


def artefact_trials(brains: Sequence[Path], seed: int) -> list[Trial]:
    """Every artefact at every severity in the first few brains."""
    trials = []
    for severity, strength in SEVERITIES.items():
        for kind in KINDS:
            for number, path in enumerate(brains[: BRAINS_PER_ARTEFACT[severity]]):
                artefact = Artefact(kind, strength, seed + number)
                facts = {**_file(path), **asdict(artefact), "level": severity}
                name = f"{kind}_{severity}_{_subject(path)}"
                trials.append(Trial("artefacts", name, _subject(path), facts, partial(_load_artefact, path, artefact)))
    return trials


def labelled_trials(cases: Sequence[Labelled]) -> list[Trial]:
    """Volumes with lesions that people outlined."""
    return [
        Trial("labelled", case.name, case.subject, {**_file(case.volume), "label": _file(case.label)}, partial(_load_labelled, case))
        for case in cases
    ]


def _stroke_trials(section: Section, brains: Sequence[Path], pairs: Sequence[Pair]) -> list[Trial]:
    trials = []
    for pair in pairs:
        path = brains[pair.brain]
        name = f"{_subject(path)}_{pair.file.name.removesuffix('.nii.gz')}"
        facts = {**_file(path), "lesion": asdict(pair.lesion)}
        trials.append(Trial(section, name, _subject(path), facts, partial(_load_stroke, path, pair)))
    return trials


def _load_healthy(path: Path) -> Loaded:
    volume = read_image(path)
    return Loaded(volume, volume.array > 0, None)


def _load_stroke(path: Path, pair: Pair) -> Loaded:
    volume = read_image(path)
    brain = volume.array > 0
    painted = paint_shape(volume, brain, pair.file, pair.lesion, _fit(path))
    return Loaded(painted.volume, brain, painted.mask, {"size": painted.size, "millilitres": painted.millilitres})


def _load_artefact(path: Path, artefact: Artefact) -> Loaded:
    volume = read_image(path)
    brain = volume.array > 0
    changed = corrupt(volume, brain, artefact)
    if volume.array.dtype.kind in "iu":
        # On the same steps as the healthy volume: a finder that ranks voxels would see the missing ties instead of the artefact.
        changed = replace(changed, array=np.rint(changed.array))
    return Loaded(changed, brain, None)


def _load_labelled(case: Labelled) -> Loaded:
    volume, label = read_image(case.volume), read_image(case.label)
    if label.array.shape != volume.array.shape:
        raise UserError(f"{case.label} has {label.array.shape} voxels and {case.volume} {volume.array.shape}; resample the label.")
    found = find_brain(volume, None if case.brain is None else read_image(case.brain))
    return Loaded(volume, found.array, label.array > 0, {"brain": found.description})


@lru_cache(maxsize=2)
def _fit(path: Path) -> Affine:
    """The affine of a brain, kept while its lesions are painted one after another."""
    volume = read_image(path)
    return mni_to_brain(volume, volume.array > 0)


def _t1(folder: Path, subject: str) -> Path:
    files = sorted((folder / subject).rglob("*_T1w.nii*"))
    if not files:
        raise UserError(f"{folder / subject} has no *_T1w.nii.gz, although participants.tsv lists the subject.")
    return files[0]


def _subject(path: Path) -> str:
    return path.name.split("_")[0].split(".")[0]


def _file(path: Path) -> dict[str, Any]:
    return {"file": str(path.resolve()), "bytes": path.stat().st_size}
