"""Which cases are evaluated: strokes and artefacts put into healthy brains, healthy brains, and labelled volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import reason
from IterMask3DLib.core.geometry import Affine
from IterMask3DLib.core.image import BoolVolume, Image
from IterMask3DLib.evaluation.artefacts import KINDS, SEVERITIES, Artefact, corrupt
from IterMask3DLib.evaluation.strokes import PlannedLesion, paint, place_shape, plan_lesions, shape_files, size_class
from IterMask3DLib.preprocessing.labelled import LabelledFiles
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.preprocessing.registration import mni_to_brain
from IterMask3DLib.preprocessing.resampling import onto_grid_of
from IterMask3DLib.preprocessing.skull_stripping import find_brain

CALIBRATION, STROKES, HEALTHY, ARTEFACTS, LABELLED = "calibration", "strokes", "healthy", "artefacts", "labelled"
TUMOURS = "tumours"
"""The sections of an evaluation; tumours are to tune on, so their figures are no test."""

COHORT_CHANNEL = "T1w"
PARTICIPANTS = "participants.tsv"
_TEST_SHARE = 0.1
CALIBRATION_PER_BRAIN, STROKES_PER_BRAIN = 3, 4
BRAINS_PER_ARTEFACT = {"mild": 2, "medium": 8, "severe": 2}
Change = Callable[[Image, BoolVolume], tuple[Image, BoolVolume | None]]
"""Image and brain -> the image changed, and where it is anomalous."""


@dataclass(frozen=True, eq=False)
class LoadedCase:
    """A case in memory.

    Attributes:
        images: by channel, all on the grid of the first [i, j, k].
        brain: bool [i, j, k].
        truth: bool [i, j, k]; None where nothing is anomalous or no mask of it is known.
        facts: what is known of the case beside those of its `EvaluationCase`, JSON-able.
    """

    images: Mapping[str, Image]
    brain: BoolVolume
    truth: BoolVolume | None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reference(self) -> Image:
        """The image whose grid everything lies on."""
        return next(iter(self.images.values()))


@dataclass(frozen=True)
class EvaluationCase:
    """A case before it is loaded.

    Attributes:
        section: one of the sections of an evaluation.
        name: unique within its section, safe as a file name.
        subject: whose brain it is, the unit of the bootstrap.
        facts: all that decides the case, JSON-able.
        load: gives the case. Raises `UserError`.
        channels: of its images.
    """

    section: str
    name: str
    subject: str
    facts: Mapping[str, Any]
    load: Callable[[], LoadedCase]
    channels: tuple[str, ...] = (COHORT_CHANNEL,)


def contrast_of(channels: Sequence[str]) -> str:
    """The contrast of the first of some channels, as BIDS names it."""
    return {"T1": "T1w", "T2": "T2w"}.get(channels[0], channels[0])


def read_cohort(folder: Path) -> dict[str, list[Path]]:
    """The healthy volumes of a BIDS folder by split (train, val, test), in the order of its `participants.tsv`.

    The table has the columns `participant_id` and `split`. Raises `UserError`.
    """
    table = folder / PARTICIPANTS
    rows = _participants(table)
    if "split" not in rows:
        raise UserError(f"{table} must be a table with the columns participant_id and split.")
    subjects = {split: rows.participant_id[rows.split == split] for split in ("train", "val", "test")}
    for split, names in subjects.items():
        if names.empty:
            raise UserError(f"{table} has no subject whose split is {split}.")
    return {split: [_volume(folder, name) for name in names] for split, names in subjects.items()}


def held_out_brains(folder: Path) -> list[Path]:
    """The test brains of a cohort: those of its split, or where its table has none, the last tenth of its subjects.

    Raises `UserError`.
    """
    rows = _participants(folder / PARTICIPANTS)
    if "split" in rows:
        return read_cohort(folder)["test"]
    last = max(1, int(_TEST_SHARE * len(rows)))
    return [_volume(folder, name) for name in rows.participant_id[-last:]]


def _participants(table: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(table, sep="\t", dtype=str, encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{table} cannot be read ({reason(error)}); give the folder of a healthy cohort.") from None
    except ValueError:
        rows = pd.DataFrame()
    if "participant_id" not in rows:
        raise UserError(f"{table} must be a table with the columns participant_id and split.")
    return rows


def _known_of(path: Path, subject: str) -> dict[str, Any]:
    """What the table of its cohort says of a brain: scanner (the folder of the cohort), sex and age, where known."""
    root = next((parent for parent in path.parents if (parent / PARTICIPANTS).is_file()), None)
    if root is None:
        return {}
    rows = _participants(root / PARTICIPANTS)
    found = rows[rows.participant_id == subject].iloc[:1].to_dict("records")
    known = {key: value for key, value in (found[0] if found else {}).items() if isinstance(value, str)}
    facts: dict[str, Any] = {"scanner": root.name}
    if known.get("sex"):
        facts["sex"] = known["sex"][0].upper()
    with suppress(ValueError):
        facts["age"] = float(known.get("age", ""))
    return facts


def calibration_cases(brains: Sequence[Path], shapes: Path, seed: int) -> list[EvaluationCase]:
    """Strokes of the tuning shapes in validation brains: what thresholds of those without a mask are chosen on."""
    lesions = plan_lesions(shape_files(shapes, "tune"), len(brains), CALIBRATION_PER_BRAIN, seed)
    return [_stroke_case(CALIBRATION, brains[lesion.brain], lesion) for lesion in lesions]


def stroke_cases(brains: Sequence[Path], shapes: Path, seed: int) -> list[EvaluationCase]:
    """Strokes of the reporting shapes, four in each brain (each alone), from small to large."""
    lesions = plan_lesions(shape_files(shapes, "report"), len(brains), STROKES_PER_BRAIN, seed)
    return [_stroke_case(STROKES, brains[lesion.brain], lesion) for lesion in lesions]


def healthy_cases(brains: Sequence[Path]) -> list[EvaluationCase]:
    """Healthy brains as they are."""
    return [_synthetic_case(HEALTHY, path, "{}", {}, lambda image, brain: (image, None)) for path in brains]


def artefact_cases(brains: Sequence[Path], seed: int) -> list[EvaluationCase]:
    """Every artefact at every severity in the first few brains."""
    cases = []
    for level, severity in SEVERITIES.items():
        for kind in KINDS:
            for number, path in enumerate(brains[: BRAINS_PER_ARTEFACT[level]]):
                artefact = Artefact(kind, severity, seed + number)
                facts = {**asdict(artefact), "level": level}
                change = partial(_with_artefact, artefact)
                cases.append(_synthetic_case(ARTEFACTS, path, f"{kind}_{level}_{{}}", facts, change))
    return cases


def labelled_cases(found: Sequence[LabelledFiles], section: str = LABELLED) -> list[EvaluationCase]:
    """Volumes with lesions that people outlined."""
    cases = []
    for files in found:
        facts: dict[str, Any] = {
            "images": {channel: _file(path) for channel, path in files.images.items()},
            "label": _file(files.label),
        }
        facts["brain_mask"] = {} if files.brain is None else _file(files.brain)
        if len(files.images) == 1:
            facts["contrast"] = contrast_of(tuple(files.images))
        load = partial(_load_labelled, files)
        cases.append(EvaluationCase(section, files.name, files.subject, facts, load, tuple(files.images)))
    return cases


def _synthetic_case(section: str, path: Path, name: str, facts: Mapping[str, Any], change: Change) -> EvaluationCase:
    """A healthy brain that was changed; `name` with {} where the subject comes."""
    subject = path.name.split("_")[0].split(".")[0]

    def load() -> LoadedCase:
        image = read_image(path)
        brain = image.array > 0
        changed, truth = change(image, brain)
        millilitres = None if truth is None else float(truth.sum()) * image.voxel_ml
        more = {} if millilitres is None else {"size": size_class(millilitres), "millilitres": millilitres}
        return LoadedCase({COHORT_CHANNEL: changed}, brain, truth, more)

    known = {"contrast": COHORT_CHANNEL, **_known_of(path, subject)}
    return EvaluationCase(section, name.replace("{}", subject), subject, {**_file(path), **known, **facts}, load)


def _stroke_case(section: str, path: Path, planned: PlannedLesion) -> EvaluationCase:
    name = f"{{}}_{planned.file.name.removesuffix('.nii.gz')}"
    change = partial(_with_stroke, path, planned)
    return _synthetic_case(section, path, name, {"lesion": asdict(planned.lesion)}, change)


def _with_stroke(path: Path, planned: PlannedLesion, image: Image, brain: BoolVolume) -> tuple[Image, BoolVolume]:
    mask = place_shape(read_image(planned.file), image, brain, _fit(path))
    return paint(image, brain, mask, planned.lesion), mask


def _with_artefact(artefact: Artefact, image: Image, brain: BoolVolume) -> tuple[Image, None]:
    changed = corrupt(image, brain, artefact)
    if image.array.dtype.kind in "iu":
        # On the same steps as the healthy volume: who ranks voxels would meet the missing ties instead of the artefact.
        changed = replace(changed, array=np.rint(changed.array))
    return changed, None


def _load_labelled(files: LabelledFiles) -> LoadedCase:
    images = {channel: read_image(path) for channel, path in files.images.items()}
    reference = next(iter(images.values()))
    lesions = files.lesions_on(reference)
    images = {channel: onto_grid_of(reference, image)[0] for channel, image in images.items()}
    found = find_brain(reference, None if files.brain is None else read_image(files.brain))
    return LoadedCase(images, found.array, lesions, {"brain": found.description})


@lru_cache(maxsize=2)
def _fit(path: Path) -> Affine:
    """From MNI space to a brain, kept while its lesions are painted one after another."""
    image = read_image(path)
    return mni_to_brain(image, image.array > 0)


def _volume(folder: Path, subject: str) -> Path:
    files = sorted((folder / subject).rglob(f"*_{COHORT_CHANNEL}.nii*"))
    if not files:
        missing = f"{folder / subject} has no *_{COHORT_CHANNEL}.nii.gz"
        raise UserError(f"{missing}, although participants.tsv lists the subject.")
    return files[0]


def _file(path: Path) -> dict[str, Any]:
    return {"file": str(path.resolve()), "bytes": path.stat().st_size}
