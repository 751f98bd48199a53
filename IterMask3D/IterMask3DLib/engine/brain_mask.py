"""Which voxels are brain: a mask that is given, a volume already stripped, an installed tool, or the built-in extraction."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from IterMask3DLib.engine.errors import InputError
from IterMask3DLib.engine.extraction import extract_brain
from IterMask3DLib.engine.records import BoolVolume, Volume
from IterMask3DLib.engine.volumes import read_volume, write_nifti

SMALLEST_ML, LARGEST_ML = 600.0, 2200.0
"""Volumes between which a brain mask can be a brain's."""

_LEAST_BACKGROUND = 0.1
_LARGE_PART = 0.1
_SAME_GRID_MM = 1e-2
_TOOL_SECONDS = 1800

ToolRunner = Callable[[Sequence[str]], None]
"""Runs a command line; raises `OSError` or `subprocess.SubprocessError` when it fails."""

TOOLS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("HD-BET", "hd-bet", ("-i", "{image}", "-o", "{out}", "-device", "cpu", "--disable_tta", "--save_bet_mask", "--no_bet_image")),
    ("SynthStrip", "mri_synthstrip", ("-i", "{image}", "-m", "{mask}")),
)
"""Name, command and arguments of the tools that are used where the user has them."""


@dataclass(frozen=True)
class BrainMask:
    """`array`: bool [i, j, k] on the grid of the volume; `source`: given, stripped, tool or extraction; `description`: the same as a phrase."""

    array: BoolVolume
    source: str
    description: str
    millilitres: float
    warnings: tuple[str, ...]


def run_tool(command: Sequence[str]) -> None:
    """Runs an installed tool, silently, within half an hour."""
    subprocess.run(command, check=True, capture_output=True, timeout=_TOOL_SECONDS)


def find_brain(
    volume: Volume, given: Volume | None = None, run: ToolRunner = run_tool, which: Callable[[str], str | None] = shutil.which
) -> BrainMask:
    """The brain of a volume, by the first way that applies. Raises `InputError` if a given mask does not fit or nothing is found."""
    warnings: list[str] = []
    if given is not None:
        return _described(volume, _fitting(volume, given), "given", f"given: {Path(given.source).name}", warnings)
    stripped = stripped_brain(volume)
    if stripped is not None:
        return _described(volume, stripped, "stripped", "already stripped: the background is constant", warnings)
    for name, command, arguments in TOOLS:
        path = which(command)
        if path is None:
            continue
        try:
            return _described(volume, _by_tool(volume, (path, *arguments), run), "tool", f"by {name}", warnings)
        except (OSError, subprocess.SubprocessError, InputError) as error:
            warnings.append(f"{name} is installed but failed ({error}); the built-in brain extraction was used instead.")
    return _described(volume, extract_brain(volume), "extraction", "by the built-in extraction", warnings)


def stripped_brain(volume: Volume) -> BoolVolume | None:
    """The brain of a volume that was stripped before, or None.

    Such a volume has one value in all corners and at least a tenth of its voxels, and what is left, with its holes filled, is no larger than a
    brain: a raw head whose air was set to 0 is larger, for it has skull and scalp.
    """
    array = volume.array
    corners = array[np.ix_((0, -1), (0, -1), (0, -1))]
    background = corners.flat[0]
    if (corners != background).any():
        return None
    foreground = array != background
    if foreground.mean() > 1 - _LEAST_BACKGROUND or not foreground.any():
        return None
    filled = np.asarray(ndimage.binary_fill_holes(foreground))
    return filled if _millilitres(filled, volume) <= LARGEST_ML else None


def _fitting(volume: Volume, given: Volume) -> BoolVolume:
    if given.array.shape != volume.array.shape:
        raise InputError(
            f"{given.source}: the brain mask has {given.array.shape} voxels and the volume {volume.array.shape}; resample the mask."
        )
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*np.array(volume.array.shape) - 1, 1]
    if np.abs(corners @ (given.affine - volume.affine).T).max() > _SAME_GRID_MM:
        raise InputError(f"{given.source}: the brain mask lies elsewhere in space than the volume; resample it to the volume's grid.")
    return np.asarray(given.array > 0)


def _by_tool(volume: Volume, command: Sequence[str], run: ToolRunner) -> BoolVolume:
    with tempfile.TemporaryDirectory() as folder:
        image, out, mask = Path(folder, "image.nii.gz"), Path(folder, "brain.nii.gz"), Path(folder, "mask.nii.gz")
        write_nifti(volume.array.astype(np.float32), volume.affine, image)
        run([part.format(image=image, out=out, mask=mask) for part in command])
        written = [path for path in (mask, Path(folder, "brain_bet.nii.gz"), Path(folder, "brain_mask.nii.gz")) if path.exists()]
        if not written:
            raise InputError("it wrote no mask")
        return _fitting(volume, read_volume(written[0]))


def _described(volume: Volume, mask: BoolVolume, source: str, description: str, warnings: list[str]) -> BrainMask:
    if not mask.any():
        raise InputError(f"{volume.source or volume.name}: no brain was found ({description}); give a brain mask.")
    millilitres = _millilitres(mask, volume)
    if not SMALLEST_ML <= millilitres <= LARGEST_ML:
        limits = f"{SMALLEST_ML:,.0f} to {LARGEST_ML:,.0f} ml"
        warnings.append(
            f"The brain mask ({description}) holds {millilitres:,.0f} ml; a brain has {limits}. Check it before you trust the result."
        )
    labels, parts = ndimage.label(mask)
    if parts > 1:
        sizes = np.sort(np.bincount(labels.ravel())[1:])[::-1]
        large = int((sizes > _LARGE_PART * sizes[0]).sum())
        if large > 1:
            warnings.append(f"The brain mask ({description}) has {large} large separate parts. Check it before you trust the result.")
    return BrainMask(mask, source, description, millilitres, tuple(warnings))


def _millilitres(mask: BoolVolume, volume: Volume) -> float:
    return float(mask.sum()) * abs(float(np.linalg.det(volume.affine[:3, :3]))) / 1000
