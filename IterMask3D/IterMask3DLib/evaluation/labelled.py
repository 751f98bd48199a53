"""Finds the volumes of a folder that have a label of their lesions, BIDS or flat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.read import ITK, NIFTI, case_name

LABEL_ENDINGS = ("_label-lesion_mask", "_desc-lesion_mask", "_label-lesion_roi", "_lesions", "_lesion", "_labels", "_label", "_seg")
BRAIN_ENDINGS = ("_desc-brain_mask", "_brain_mask", "_brainmask", "_brain")
_SAME_MODALITY = {"T1w": ("T1w", "T1"), "T1": ("T1w", "T1"), "T2w": ("T2w", "T2"), "T2": ("T2w", "T2")}


@dataclass(frozen=True)
class Labelled:
    """Files of one case; `brain` is None where the folder has no brain mask of it."""

    name: str
    subject: str
    volume: Path
    label: Path
    brain: Path | None


def find_labelled(folder: Path, modality: str) -> list[Labelled]:
    """Every volume of `modality` with a label, sorted by name.

    A label is named like its volume, with or without the modality, and ends in one of `LABEL_ENDINGS`: `sub-01_lesions` belongs to `sub-01_T1w`
    and to `sub-01_T1`. It may lie in another folder (BIDS derivatives). Raises `UserError` if there is none, or if a label has no volume.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give a folder of volumes with labels (*_lesions.nii.gz).")
    files = {case_name(path): path for path in sorted(folder.rglob("*")) if path.name.lower().endswith(NIFTI + ITK)}
    cases = []
    for name, label in files.items():
        ending = next((ending for ending in LABEL_ENDINGS if name.endswith(ending)), None)
        if ending is None:
            continue
        base = name.removesuffix(ending)
        known = [base, *(f"{base}_{alias}" for alias in _SAME_MODALITY.get(modality, (modality,)))]
        stem = next((stem for stem in known if stem in files and _is_volume(stem, modality)), None)
        if stem is None:
            raise UserError(f"{label} has no volume beside it; {' or '.join(known[1:])} is looked for (say another --modality?).")
        brain = next((files[start + end] for start in (stem, base) for end in BRAIN_ENDINGS if start + end in files), None)
        subject = next((part for part in base.split("_") if part.startswith("sub-")), base)
        cases.append(Labelled(stem, subject, files[stem], label, brain))
    if not cases:
        raise UserError(f"{folder} holds no label: a file that ends in {', '.join(LABEL_ENDINGS)}.")
    return sorted(cases, key=lambda case: case.name)


def _is_volume(stem: str, modality: str) -> bool:
    """Whether a name is not that of another label or brain mask."""
    return not stem.endswith(LABEL_ENDINGS + BRAIN_ENDINGS)
