"""Which volumes a folder holds, which brain mask belongs to each, and which are kept for validation."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.read import ITK, NIFTI, case_name

_MASK_ENDINGS = ("_desc-brain_mask", "_brain_mask", "_brainmask", "_brain", "_mask")
_TRAINING, _VALIDATION = ("train", "training"), ("val", "valid", "validation")


@dataclass(frozen=True)
class Source:
    """One volume of a cohort: its file, its brain mask (None: stripped, or to be extracted) and whose it is."""

    path: Path
    mask: Path | None
    subject: str


@dataclass(frozen=True)
class Split:
    """The volumes a network learns from and those it is judged by."""

    training: tuple[Source, ...]
    validation: tuple[Source, ...]


def find_cohort(data: Path, modality: str, validation_share: float, seed: int, masks: Path | None = None) -> Split:
    """The healthy volumes of a BIDS folder (`sub-*`) or of a flat one.

    A brain mask lies beside its volume or in `masks`, named like it, with or without an ending such as `_brain_mask`; in BIDS also in
    `derivatives`. A column `split` of `participants.tsv` says who is train and val, others are left out; without one, a share of the subjects
    is drawn for validation. Raises `UserError` if there is nothing to train on.
    """
    if not data.is_dir():
        raise UserError(f"{data} is not a folder; give a folder of healthy volumes, BIDS or flat.")
    if masks is not None and not masks.is_dir():
        raise UserError(f"{masks} is not a folder; give the folder of the brain masks.")
    bids = any(path.is_dir() for path in data.glob("sub-*"))
    sources = _bids(data, modality) if bids else _flat(data)
    if not sources:
        kind = f"no *_{modality}.nii.gz in its sub-* folders (say another --modality?)" if bids else "no NIfTI, NRRD or MetaImage volume"
        raise UserError(f"{data} holds {kind}.")
    if masks is not None:
        found = {_bare(path): path for path in _volumes(masks)}
        sources = [replace(source, mask=found.get(case_name(source.path), source.mask)) for source in sources]
    table = data / "participants.tsv"
    told = _told_splits(table) if bids and table.exists() else None
    split = _by_table(sources, told) if told else _drawn(sources, validation_share, seed)
    if not split.training:
        raise UserError(f"{table if told else data} leaves no volume to train on; check its split.")
    return split


def _volumes(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.lower().endswith(NIFTI + ITK) and not path.name.startswith("."))


def _bare(path: Path) -> str:
    """Case name of a file without the ending that marks it as a mask."""
    name = case_name(path)
    ending = next((e for e in _MASK_ENDINGS if name.endswith(e)), "")
    return name.removesuffix(ending)


def _flat(data: Path) -> list[Source]:
    files = _volumes(data)
    names = {case_name(path) for path in files}
    masks = {_bare(path): path for path in files if _bare(path) != case_name(path) and _bare(path) in names}
    volumes = [path for path in files if path not in masks.values()]
    return [Source(path, masks.get(case_name(path)), case_name(path)) for path in volumes]


def _bids(data: Path, modality: str) -> list[Source]:
    ending = re.compile(rf"_{re.escape(modality)}\.nii(\.gz)?$")
    files = [path for path in data.glob("sub-*/**/*.nii*") if ending.search(path.name)]
    masks = {}
    for path in [*data.glob("sub-*/**/*mask.nii*"), *data.glob("derivatives/**/sub-*mask.nii*")]:
        masks[_bare(path).removesuffix(f"_{modality}")] = path
    found = []
    for path in sorted(files):
        subject = next(part for part in path.relative_to(data).parts if part.startswith("sub-"))
        found.append(Source(path, masks.get(ending.sub("", path.name)), subject))
    return found


def _told_splits(table: Path) -> dict[str, str] | None:
    """Split by subject, or None where the table has no such column."""
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    if not rows or "split" not in rows[0] or "participant_id" not in rows[0]:
        return None
    return {row["participant_id"]: (row["split"] or "").strip().lower() for row in rows}


def _by_table(sources: Sequence[Source], told: dict[str, str]) -> Split:
    return Split(
        tuple(source for source in sources if told.get(source.subject) in _TRAINING),
        tuple(source for source in sources if told.get(source.subject) in _VALIDATION),
    )


def _drawn(sources: Sequence[Source], share: float, seed: int) -> Split:
    """All volumes of a subject stay on one side; at least one subject is kept for validation where there are two and a share is asked for."""
    subjects = sorted({source.subject for source in sources})
    wanted = min(max(1, round(share * len(subjects))), len(subjects) - 1) if share > 0 else 0
    kept = {subjects[i] for i in np.random.default_rng([seed, 0]).permutation(len(subjects))[:wanted]}
    return Split(tuple(s for s in sources if s.subject not in kept), tuple(s for s in sources if s.subject in kept))
