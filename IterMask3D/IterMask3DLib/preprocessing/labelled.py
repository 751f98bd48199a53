"""Finds the volumes of a folder that have a label of their lesions, BIDS or flat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import BoolVolume, Image
from IterMask3DLib.preprocessing.read import case_name, is_volume, read_image

LABEL_ENDINGS = (
    *("_label-lesion_mask", "_desc-lesion_mask", "_label-lesion_roi"),
    *("_lesions", "_lesion", "_tumour", "_tumor", "_labels", "_label", "_seg"),
)
BRAIN_ENDINGS = ("_desc-brain_mask", "_brain_mask", "_brainmask", "_brain")
_ALIASES = {name: (f"T{name[1]}w", f"T{name[1]}") for name in ("T1w", "T1", "T2w", "T2")}


@dataclass(frozen=True)
class LabelledFiles:
    """Files of one case.

    Attributes:
        name: of its first volume; subject: whose it is.
        images: its volumes by channel, at least one; label: of the lesions.
        brain: None where the folder has no brain mask of it.
    """

    name: str
    subject: str
    images: Mapping[str, Path]
    label: Path
    brain: Path | None

    def lesions_on(self, reference: Image) -> BoolVolume:
        """The label [i, j, k] on the grid of its volume. Raises `UserError` where it has another one."""
        label = read_image(self.label)
        if label.array.shape != reference.array.shape:
            shapes = f"{label.array.shape} voxels and {reference.label} {reference.array.shape}"
            raise UserError(f"{self.label} has {shapes}; resample the label.")
        return np.asarray(label.array > 0)


def find_labelled(folder: Path, channels: Sequence[str]) -> list[LabelledFiles]:
    """Every case of a folder that has a label and a volume of one of the channels, sorted by name.

    A label is named like its volume, with or without the channel, and ends in one of `LABEL_ENDINGS`: `sub-01_lesions`
    belongs to `sub-01_T1w` and to `sub-01_T1`. It may lie in another folder (BIDS derivatives). Raises `UserError` if
    there is none, or if a label has no volume.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give a folder of volumes with labels (*_lesions.nii.gz).")
    files = {case_name(path): path for path in sorted(folder.rglob("*")) if is_volume(path)}
    cases = []
    for name, label in files.items():
        ending = next((ending for ending in LABEL_ENDINGS if name.endswith(ending)), None)
        if ending is None:
            continue
        base = name.removesuffix(ending)
        wanted = {channel: _stems(base, channel, len(channels) == 1) for channel in channels}
        found = {
            channel: next((s for s in stems if s in files and _is_volume(s)), "") for channel, stems in wanted.items()
        }
        stems = {channel: stem for channel, stem in found.items() if stem}
        if not stems:
            names = " or ".join(stem for one in wanted.values() for stem in one if stem != base)
            raise UserError(f"{label} has no volume beside it; {names} is looked for (say another --modality?).")
        first = next(iter(stems.values()))
        brain = next(
            (files[stem + end] for stem in (first, base) for end in BRAIN_ENDINGS if stem + end in files), None
        )
        subject = next((part for part in base.split("_") if part.startswith("sub-")), base)
        images = {channel: files[stem] for channel, stem in stems.items()}
        cases.append(LabelledFiles(first, subject, images, label, brain))
    if not cases:
        raise UserError(f"{folder} holds no label: a file that ends in {', '.join(LABEL_ENDINGS)}.")
    return sorted(cases, key=lambda case: case.name)


def by_contrast(found: Sequence[LabelledFiles]) -> list[LabelledFiles]:
    """The cases with each of their volumes as a case of its own."""
    return [
        replace(files, name=case_name(path), images={channel: path})
        for files in found
        for channel, path in files.images.items()
    ]


def _stems(base: str, channel: str, is_only: bool) -> list[str]:
    """Names that a channel of a case may have; the label's own base says no channel where several are asked for."""
    names = _ALIASES.get(channel, (channel,))
    own = [base] if is_only or base.endswith(tuple(f"_{name}" for name in names)) else []
    return own + [f"{base}_{name}" for name in names]


def _is_volume(stem: str) -> bool:
    """Whether a name is not that of another label or brain mask."""
    return not stem.endswith(LABEL_ENDINGS + BRAIN_ENDINGS)
