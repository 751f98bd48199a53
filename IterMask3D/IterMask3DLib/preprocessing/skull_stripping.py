"""Which voxels are brain.

A mask that is given says so, or a volume that is stripped already, an installed tool, or the built-in skull stripping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import Box, bounding_box
from IterMask3DLib.core.image import BoolVolume, Image
from IterMask3DLib.preprocessing.built_in_stripping import strip_head
from IterMask3DLib.preprocessing.stripping_tools import TOOLS, StrippingTool

SMALLEST_ML, LARGEST_ML = 600.0, 2200.0
"""Volumes between which a brain mask can be a brain's."""

_LEAST_BACKGROUND = 0.1
_LARGE_PART = 0.1
_SAME_GRID_MM = 1e-2
_AUTO = "auto"
_CHECK = "Check it before you trust the result."


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


def find_brain(
    image: Image, given: Image | None = None, choice: str = _AUTO, tools: Sequence[StrippingTool] = TOOLS
) -> BrainMask:
    """The brain of a volume, by the first way that applies: given, stripped already, a tool, the built-in stripping.

    Args:
        given: a mask on the volume's grid, 0 and not 0.
        choice: of the skull stripping, as in `Request`; auto: the first tool that is installed.
        tools: that there are.

    Raises:
        UserError: if a given mask does not fit, the chosen tool is not installed, or nothing is found.
    """
    if given is not None:
        return _described(image, _fitting(image, given), "given", f"given: {Path(given.source).name}")
    stripped = stripped_brain(image)
    if stripped is not None:
        return _described(image, stripped, "stripped", "already stripped: the background is constant")
    warnings: tuple[str, ...] = ()
    for tool in tools:
        if choice not in (_AUTO, tool.choice):
            continue
        if tool.is_installed():
            try:
                return _described(image, _fitting(image, tool.mask(image)), "tool", f"by {tool.name}", warnings)
            except UserError as error:
                instead = "the built-in skull stripping was used instead"
                warnings += (f"{tool.name} is installed but failed ({error}); {instead}.",)
        elif choice == tool.choice:
            raise UserError(f"{tool.name} is not installed ({tool.install}); install it or choose another.")
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
