"""Which volumes a folder holds, which brain mask belongs to each, and which are kept for validation."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import read_plain
from IterMask3DLib.preprocessing.read import NIFTI, case_name, is_volume

_MASK_ENDINGS = ("_desc-brain_mask", "_brain_mask", "_brainmask", "_brain", "_mask")
_TRAINING, _VALIDATION = ("train", "training"), ("val", "valid", "validation")


@dataclass(frozen=True)
class Source:
    """One brain of a cohort.

    Attributes:
        paths: its file for each channel.
        mask: its brain mask; None: it is stripped already, or its brain is to be found.
        subject: whose it is.
    """

    paths: tuple[Path, ...]
    mask: Path | None
    subject: str

    @property
    def path(self) -> Path:
        """The file of the first channel, whose grid is that of the mask."""
        return self.paths[0]


@dataclass(frozen=True)
class Split:
    """The brains a network learns from and those that validate it; `left_out`: names of those that lack a channel."""

    training: tuple[Source, ...]
    validation: tuple[Source, ...]
    left_out: tuple[str, ...] = ()


def find_cohort(
    data: Path,
    channels: Sequence[str],
    validation_share: float,
    seed: int,
    masks: Path | None = None,
    split: Path | None = None,
) -> Split:
    """The healthy brains of a BIDS folder (`sub-*`) or of a flat one.

    With several channels the files of a brain are named alike, but for an ending `_CHANNEL` (as always in BIDS). A
    brain mask lies beside its volume or in `masks`, named like it, with or without an ending such as `_brain_mask`; in
    BIDS also in `derivatives`. A column `split` of `participants.tsv` says who is train and val, others are left out;
    without one, a share of the subjects is drawn for validation. The table `split` is asked first.

    Raises:
        UserError: if there is nothing to train on.
    """
    if not data.is_dir():
        raise UserError(f"{data} is not a folder; give a folder of healthy volumes, BIDS or flat.")
    if masks is not None and not masks.is_dir():
        raise UserError(f"{masks} is not a folder; give the folder of the brain masks.")
    bids = any(path.is_dir() for path in data.glob("sub-*"))
    sources, left_out = _bids(data, channels) if bids else _flat(data, channels)
    if not sources:
        raise UserError(f"{data} holds {_nothing(bids, channels, left_out)}.")
    if masks is not None:
        named = {_bare(path): path for path in _volumes(masks)}
        sources = [replace(source, mask=_first(named, source, channels) or source.mask) for source in sources]
    table = data / "participants.tsv"
    splits = (_table_splits(table) if bids and table.exists() else None) or {}
    given = _given_splits(split, {source.subject for source in sources}) if split is not None else {}
    splits = {**splits, **given}
    found = _by_table(sources, splits) if splits else _drawn(sources, validation_share, seed)
    if not found.training:
        where = (split if given else table) if splits else data
        raise UserError(f"{where} leaves no volume to train on; check its split.")
    return replace(found, left_out=tuple(left_out))


def _nothing(bids: bool, channels: Sequence[str], left_out: Sequence[str]) -> str:
    if left_out:
        return f"no brain with all of {', '.join(channels)} ({left_out[0]} lacks one)"
    if bids:
        return f"no *_{channels[0]}.nii.gz in its sub-* folders (say another --modality?)"
    return "no NIfTI, NRRD or MetaImage volume" + (f" *_{channels[0]}" if len(channels) > 1 else "")


def _volumes(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if is_volume(path) and not path.name.startswith("."))


def _bare(path: Path) -> str:
    """Case name of a file without the ending that marks it as a mask."""
    name = case_name(path)
    ending = next((e for e in _MASK_ENDINGS if name.endswith(e)), "")
    return name.removesuffix(ending)


def _first(masks: Mapping[str, Path], source: Source, channels: Sequence[str]) -> Path | None:
    """The mask that is named like a source, with its channel or without."""
    name = case_name(source.path)
    return masks.get(name) or masks.get(name.removesuffix(f"_{channels[0]}"))


def _flat(data: Path, channels: Sequence[str]) -> tuple[list[Source], list[str]]:
    files = _volumes(data)
    names = {case_name(path) for path in files}
    if len(channels) > 1:
        # A mask is named like a channel's file, or like the brain.
        names |= {name.removesuffix(f"_{channel}") for name in names for channel in channels}
    masks = {_bare(path): path for path in files if _bare(path) != case_name(path) and _bare(path) in names}
    volumes = [path for path in files if path not in masks.values()]
    if len(channels) == 1:
        return [Source((path,), masks.get(case_name(path)), case_name(path)) for path in volumes], []
    return _grouped(volumes, channels, masks, lambda path, stem: stem)


def _bids(data: Path, channels: Sequence[str]) -> tuple[list[Source], list[str]]:
    masks = {}
    for path in [*data.glob("sub-*/**/*mask.nii*"), *data.glob("derivatives/**/sub-*mask.nii*")]:
        name = _bare(path)
        ending = next((f"_{channel}" for channel in channels if name.endswith(f"_{channel}")), "")
        masks[name.removesuffix(ending)] = path
    files = [path for path in sorted(data.glob("sub-*/**/*.nii*")) if path.name.endswith(NIFTI)]

    def subject(path: Path, stem: str) -> str:
        return next(part for part in path.relative_to(data).parts if part.startswith("sub-"))

    return _grouped(files, channels, masks, subject)


def _grouped(
    files: Sequence[Path], channels: Sequence[str], masks: Mapping[str, Path], subject_of: Callable[[Path, str], str]
) -> tuple[list[Source], list[str]]:
    """Sources from the files that end in a channel's name, and the names of those that lack a channel."""
    brains: dict[tuple[Path, str], dict[str, Path]] = {}
    for path in files:
        name = case_name(path)
        for channel in channels:
            if name.endswith(f"_{channel}"):
                brains.setdefault((path.parent, name.removesuffix(f"_{channel}")), {})[channel] = path
    found, left_out = [], []
    for (_, stem), paths in brains.items():
        if any(channel not in paths for channel in channels):
            left_out.append(stem)
            continue
        first = paths[channels[0]]
        mask = masks.get(stem) or masks.get(case_name(first))
        found.append(Source(tuple(paths[channel] for channel in channels), mask, subject_of(first, stem)))
    return found, left_out


def _given_splits(table: Path, subjects: Collection[str]) -> dict[str, str]:
    """What a table that the user gives says of some subjects. Raises `UserError`."""
    splits = _table_splits(table)
    if splits is None:
        raise UserError(f"{table} has no columns participant_id and split, separated by tabs.")
    return {subject: splits[subject] for subject in subjects if subject in splits}


def _table_splits(table: Path) -> dict[str, str] | None:
    """Split by subject, or None where the table has no such column. Raises `UserError`."""
    data = read_plain(table, "; give a table of participant_id and split")
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter="\t"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} cannot be read as a table ({error}); mend or remove it.") from None
    if not rows or "split" not in rows[0] or "participant_id" not in rows[0]:
        return None
    return {row["participant_id"]: (row["split"] or "").strip().lower() for row in rows}


def _by_table(sources: Sequence[Source], splits: Mapping[str, str]) -> Split:
    return Split(
        tuple(source for source in sources if splits.get(source.subject) in _TRAINING),
        tuple(source for source in sources if splits.get(source.subject) in _VALIDATION),
    )


def _drawn(sources: Sequence[Source], share: float, seed: int) -> Split:
    """All volumes of a subject stay on one side; at least one subject is kept for validation where there are two."""
    subjects = sorted({source.subject for source in sources})
    wanted = min(max(1, round(share * len(subjects))), len(subjects) - 1) if share > 0 else 0
    kept = {subjects[i] for i in np.random.default_rng([seed, 0]).permutation(len(subjects))[:wanted]}
    return Split(tuple(s for s in sources if s.subject not in kept), tuple(s for s in sources if s.subject in kept))
