"""Which voxels are brain.

A mask that is given says so, or a volume that is stripped already, an installed tool, or the built-in skull stripping.
"""

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
from IterMask3DLib.core.geometry import Box, bounding_box
from IterMask3DLib.core.image import BoolVolume, Image
from IterMask3DLib.preprocessing.built_in_stripping import strip_head
from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.preprocessing.read import read_image

SMALLEST_ML, LARGEST_ML = 600.0, 2200.0
"""Volumes between which a brain mask can be a brain's."""

_LEAST_BACKGROUND = 0.1
_LARGE_PART = 0.1
_SAME_GRID_MM = 1e-2
_TOOL_SECONDS = 1800
_CHECK = "Check it before you trust the result."

ToolRunner = Callable[[Sequence[str]], None]
"""Runs a command line; raises `OSError` or `subprocess.SubprocessError` when it fails."""

TOOLS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "HD-BET",
        "hd-bet",
        ("-i", "{image}", "-o", "{out}", "-device", "cpu", "--disable_tta", "--save_bet_mask", "--no_bet_image"),
    ),
    ("SynthStrip", "mri_synthstrip", ("-i", "{image}", "-m", "{mask}")),
)
"""Name, command and arguments of the tools that are used where the user has them."""


@dataclass(frozen=True)
class BrainMask:
    """Where the brain of a volume is.

    Attributes:
        array: bool [i, j, k] on the grid of the volume; box: what holds it.
        source: given, stripped, tool or built-in; description: the same as a phrase.
        millilitres: its volume.
        warnings: sentences for the user.
    """

    array: BoolVolume
    box: Box
    source: str
    description: str
    millilitres: float
    warnings: tuple[str, ...]


def run_tool(command: Sequence[str]) -> None:
    """Runs an installed tool, silently, within half an hour."""
    subprocess.run(command, check=True, capture_output=True, timeout=_TOOL_SECONDS)


def find_brain(
    image: Image,
    given: Image | None = None,
    run: ToolRunner = run_tool,
    which: Callable[[str], str | None] = shutil.which,
) -> BrainMask:
    """The brain of a volume, by the first way that applies.

    Args:
        given: a mask on the volume's grid, 0 and not 0.
        run: runs the command of a tool; which: finds it.

    Raises:
        UserError: if a given mask does not fit, or nothing is found.
    """
    if given is not None:
        return _described(image, _fitting(image, given), "given", f"given: {Path(given.source).name}")
    stripped = stripped_brain(image)
    if stripped is not None:
        return _described(image, stripped, "stripped", "already stripped: the background is constant")
    warnings: tuple[str, ...] = ()
    for name, command, arguments in TOOLS:
        path = which(command)
        if path is None:
            continue
        try:
            return _described(image, _by_tool(image, (path, *arguments), run), "tool", f"by {name}", warnings)
        except (OSError, subprocess.SubprocessError, UserError) as error:
            instead = "the built-in skull stripping was used instead"
            warnings += (f"{name} is installed but failed ({error}); {instead}.",)
    return _described(image, strip_head(image), "built-in", "by the built-in skull stripping", warnings)


def stripped_brain(image: Image) -> BoolVolume | None:
    """The brain of a volume that was stripped before: bool [i, j, k], or None.

    Such a volume has one value in all corners and at least a tenth of its voxels, and what is left, with its holes
    filled, is no larger than a brain: a raw head whose air was set to 0 is larger, for it has skull and scalp.
    """
    array = image.array
    corners = array[np.ix_((0, -1), (0, -1), (0, -1))]
    background = corners.flat[0]
    if (corners != background).any():
        return None
    foreground = np.asarray(array != background)
    voxels = np.count_nonzero(foreground)
    most = min((1 - _LEAST_BACKGROUND) * array.size, LARGEST_ML / image.voxel_ml)
    box = bounding_box(foreground) if voxels <= most else None
    if box is None:
        return None
    foreground[box] = _filled(foreground[box])
    return foreground if np.count_nonzero(foreground) * image.voxel_ml <= LARGEST_ML else None


def _filled(mask: BoolVolume) -> BoolVolume:
    """A mask without the holes that no way of faces connects to its outside: what `binary_fill_holes` gives, faster."""
    # Labelled along the axis that lies closest together in memory.
    labels, count = ndimage.label(~mask.T)
    outside = np.zeros(count + 1, dtype=bool)
    for axis in range(3):
        outside[labels.take((0, -1), axis)] = True
    outside[0] = False
    return np.asarray(~outside[labels].T)


def _fitting(image: Image, given: Image) -> BoolVolume:
    size, wanted = given.array.shape, image.array.shape
    if size != wanted:
        raise UserError(f"{given.source}: the brain mask has {size} voxels and the volume {wanted}; resample the mask.")
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*np.array(wanted) - 1, 1]
    if np.abs(corners @ (given.affine - image.affine).T).max() > _SAME_GRID_MM:
        raise UserError(
            f"{given.source}: the brain mask lies elsewhere in space than the volume; resample it to the volume's grid."
        )
    return np.asarray(given.array > 0)


def _by_tool(image: Image, command: Sequence[str], run: ToolRunner) -> BoolVolume:
    with tempfile.TemporaryDirectory() as folder:
        head, out, mask = (Path(folder, f"{name}.nii.gz") for name in ("image", "brain", "mask"))
        write_nifti(image.array.astype(np.float32), image.affine, head)
        run([part.format(image=head, out=out, mask=mask) for part in command])
        places = (mask, Path(folder, "brain_bet.nii.gz"), Path(folder, "brain_mask.nii.gz"))
        written = [path for path in places if path.exists()]
        if not written:
            raise UserError("it wrote no mask")
        return _fitting(image, read_image(written[0]))


def _described(
    image: Image, mask: BoolVolume, source: str, description: str, warnings: tuple[str, ...] = ()
) -> BrainMask:
    box = bounding_box(mask)
    if box is None:
        raise UserError(f"{image.label}: no brain was found ({description}); give a brain mask.")
    millilitres = float(np.count_nonzero(mask)) * image.voxel_ml
    if not SMALLEST_ML <= millilitres <= LARGEST_ML:
        limits = f"a brain has {SMALLEST_ML:,.0f} to {LARGEST_ML:,.0f} ml"
        warnings += (f"The brain mask ({description}) holds {millilitres:,.0f} ml; {limits}. {_CHECK}",)
    large = _large_parts(mask[box])
    if large > 1:
        warnings += (f"The brain mask ({description}) has {large} large separate parts. {_CHECK}",)
    return BrainMask(mask, box, source, description, millilitres, warnings)


def _large_parts(mask: BoolVolume) -> int:
    """How many connected parts of a mask hold more than a tenth of what the largest one holds."""
    # Labelled along the axis that lies closest together in memory.
    labels, parts = ndimage.label(mask.T)
    if parts == 1:
        return 1
    # Slice by slice, for numpy counts in 64 bits.
    sizes = np.sum([np.bincount(each.ravel(), minlength=parts + 1) for each in labels], axis=0)[1:]
    return int((sizes > _LARGE_PART * sizes.max()).sum())
