"""A ball of three tissues, and where no anomaly reaches."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from IterMask3DLib.training.contrasts import (
    node_maps,
    tissue_levels,
)
from IterMask3DLib.training.tissue_maps import WHOLE, TissueMaps

SHAPE = (32, 40, 32)


LEVELS = {"fluid": 40.0, "grey": 110.0, "white": 170.0}


def ball(radius: float = 14.0) -> np.ndarray[Any, Any]:
    centre = (np.array(SHAPE) - 1)[:, None, None, None] / 2
    return np.asarray(((np.indices(SHAPE) - centre) ** 2).sum(axis=0) <= radius**2)


def tissues() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A ball of grey matter around white matter around fluid, with a little noise: the volume and its brain."""
    brain, rng = ball(), np.random.default_rng(0)
    volume = np.select([ball(6), ball(11.5), brain], [LEVELS["fluid"], LEVELS["white"], LEVELS["grey"]], 0.0)
    noisy = np.where(brain, volume + rng.normal(0, 4, SHAPE), 0)
    return noisy.astype(np.float32), brain


def maps_of_tissues() -> TissueMaps:
    volume, brain = tissues()
    counted = tissue_levels(volume[brain]).counted(volume[brain])
    return TissueMaps(
        np.stack([np.rint(WHOLE * each).astype(np.uint8) for each in node_maps(counted)]), brain, (2.0,) * 3
    )


def far_from(extent: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Voxels that no anomaly changes: a mass also moves what is around it, up to some voxels."""
    if not extent.any():
        return np.ones(SHAPE, dtype=bool)
    return np.asarray(ndimage.distance_transform_edt(extent == 0) > 11)
