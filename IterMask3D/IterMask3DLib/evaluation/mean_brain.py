"""The mean of a cohort's healthy brains, kept in a file, and how far another brain lies from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib import __version__
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import whole_file
from IterMask3DLib.core.image import BoolVolume, FloatVolume, Image
from IterMask3DLib.preprocessing.mean_brain import MeanBrain, mean_of, standard, sums_over
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.runtime.distributed import all_gather, shard

_SPACING_MM = 2.0


def mean_brain(
    volumes: Sequence[Path], cache: Path, track: Callable[[Sequence[Path]], Iterable[Path]] = iter
) -> MeanBrain:
    """The mean of stripped healthy volumes, or what `cache` (an .npz file) holds of the same volumes from this version.

    Under a launcher each process lays its shard of the volumes over. Raises `UserError` if there are fewer than two.

    Args:
        track: gives the volumes one by one, and may say how far it is.
    """
    if len(volumes) < 2:
        raise UserError("A mean healthy brain needs at least two healthy volumes for training.")
    wanted = np.array([__version__, *(path.name for path in volumes)])
    kept = _read(cache, wanted)
    # Asked of all, so that no process waits for one that found the file.
    if all(all_gather(kept is not None)) and kept is not None:
        return kept
    images = (read_image(path) for path in track(shard(volumes)))
    sums = sums_over(((image, image.array > 0) for image in images), _SPACING_MM)
    found = mean_of(np.sum(all_gather(sums), axis=0), len(volumes))
    cache.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(cache) as part:
        np.savez_compressed(part, mean=found.mean, spread=found.spread, volumes=wanted)
    return found


def z_score(image: Image, brain: BoolVolume, healthy: MeanBrain) -> FloatVolume:
    """How many deviations of the healthy brains each voxel [i, j, k] lies from their mean; 0 outside `brain`."""
    mean, spread = healthy.at(image, brain)
    return (np.where(brain, standard(image.array, brain) - mean, 0) / spread).astype(np.float32)


def _read(cache: Path, wanted: NDArray[np.str_]) -> MeanBrain | None:
    try:
        with np.load(cache) as stored:
            same = np.array_equal(stored["volumes"], wanted)
            return MeanBrain(stored["mean"], stored["spread"]) if same else None
    except (OSError, ValueError, KeyError):
        return None
