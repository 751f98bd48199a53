"""Which voxels are brain: a mask that is given, a volume already stripped, an installed tool, or the built-in skull stripping."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.built_in_stripping import strip_head
from IterMask3DLib.core.image import BoolVolume, Image
from IterMask3DLib.preprocessing.read import read_image, write_nifti

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
    """`array`: bool [i, j, k] on the grid of the volume; `source`: given, stripped, tool or built-in; `description`: the same as a phrase."""

    array: BoolVolume
    source: str
    description: str
    millilitres: float
    warnings: tuple[str, ...]


def run_tool(command: Sequence[str]) -> None:
    """Runs an installed tool, silently, within half an hour."""
    subprocess.run(command, check=True, capture_output=True, timeout=_TOOL_SECONDS)


def find_brain(
    image: Image, given: Image | None = None, run: ToolRunner = run_tool, which: Callable[[str], str | None] = shutil.which
) -> BrainMask:
    """The brain of a volume, by the first way that applies. Raises `UserError` if a given mask does not fit or nothing is found."""
    warnings: list[str] = []
    if given is not None:
        return _described(image, _fitting(image, given), "given", f"given: {Path(given.source).name}", warnings)
    stripped = stripped_brain(image)
    if stripped is not None:
        return _described(image, stripped, "stripped", "already stripped: the background is constant", warnings)
    for name, command, arguments in TOOLS:
        path = which(command)
        if path is None:
            continue
        try:
            return _described(image, _by_tool(image, (path, *arguments), run), "tool", f"by {name}", warnings)
        except (OSError, subprocess.SubprocessError, UserError) as error:
            warnings.append(f"{name} is installed but failed ({error}); the built-in skull stripping was used instead.")
    return _described(image, strip_head(image), "built-in", "by the built-in skull stripping", warnings)


def stripped_brain(image: Image) -> BoolVolume | None:
    """The brain of a volume that was stripped before, or None.

    Such a volume has one value in all corners and at least a tenth of its voxels, and what is left, with its holes filled, is no larger than a
    brain: a raw head whose air was set to 0 is larger, for it has skull and scalp.
    """
    array = image.array
    corners = array[np.ix_((0, -1), (0, -1), (0, -1))]
    background = corners.flat[0]
    if (corners != background).any():
        return None
    foreground = array != background
    if foreground.mean() > 1 - _LEAST_BACKGROUND or not foreground.any():
        return None
    filled = np.asarray(ndimage.binary_fill_holes(foreground))
    return filled if float(filled.sum()) * image.voxel_ml <= LARGEST_ML else None


def _fitting(image: Image, given: Image) -> BoolVolume:
    if given.array.shape != image.array.shape:
        raise UserError(
            f"{given.source}: the brain mask has {given.array.shape} voxels and the volume {image.array.shape}; resample the mask."
        )
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*np.array(image.array.shape) - 1, 1]
    if np.abs(corners @ (given.affine - image.affine).T).max() > _SAME_GRID_MM:
        raise UserError(f"{given.source}: the brain mask lies elsewhere in space than the volume; resample it to the volume's grid.")
    return np.asarray(given.array > 0)


def _by_tool(image: Image, command: Sequence[str], run: ToolRunner) -> BoolVolume:
    with tempfile.TemporaryDirectory() as folder:
        head, out, mask = (Path(folder, f"{name}.nii.gz") for name in ("image", "brain", "mask"))
        write_nifti(image.array.astype(np.float32), image.affine, head)
        run([part.format(image=head, out=out, mask=mask) for part in command])
        written = [path for path in (mask, Path(folder, "brain_bet.nii.gz"), Path(folder, "brain_mask.nii.gz")) if path.exists()]
        if not written:
            raise UserError("it wrote no mask")
        return _fitting(image, read_image(written[0]))


def _described(image: Image, mask: BoolVolume, source: str, description: str, warnings: list[str]) -> BrainMask:
    if not mask.any():
        raise UserError(f"{image.label}: no brain was found ({description}); give a brain mask.")
    millilitres = float(mask.sum()) * image.voxel_ml
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
