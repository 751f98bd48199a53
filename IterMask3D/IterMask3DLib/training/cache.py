"""Brains prepared once, as a run prepares them, and read as memory-mapped arrays ever after."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import check_plain, reason, whole_file
from IterMask3DLib.methods.base import Healthy, Report
from IterMask3DLib.methods.slices import as_slices, slices_with_brain
from IterMask3DLib.preprocessing.intensity import BACKGROUND
from IterMask3DLib.preprocessing.prepare import Prepared, prepare
from IterMask3DLib.preprocessing.read import case_name, read_case
from IterMask3DLib.runtime.distributed import all_gather, shard
from IterMask3DLib.training.cohort import Source

_FORMAT = 2
_CHUNK = 1 << 20

Making = Callable[[Source, ModelCard, Report], "np.ndarray[Any, Any]"]
"""Makes from a brain what is kept of it: [c, x, y, z], float16 or uint8."""


@dataclass(frozen=True)
class CachedVolumes(Sequence[Healthy]):
    """Prepared brains, centred on the grid of a model; of a 2D grid, with all their slices.

    Each is a file of float16 [c, x, y, z], NaN outside the brain. Files are opened when they are read, so a cohort of
    any size needs no more than one open file; the pages stay in the system's memory.
    """

    files: tuple[Path, ...]
    grid: CardGrid

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Healthy:  # type: ignore[override]
        stored = opened(self.files[number])
        return self.placed(stored, (*self.grid.shape, *stored.shape[1:][len(self.grid.shape) :]))

    def slice_of(self, number: int, index: int) -> Healthy:
        """One slice of a brain, for a 2D grid."""
        return self.placed(opened(self.files[number])[..., index], self.grid.shape)

    def placed(self, stored: np.ndarray[Any, Any], shape: tuple[int, ...]) -> Healthy:
        """A stored array in the middle of a grid; where it is larger, its rim is cut."""
        channels = centred(stored, shape, np.nan, np.float32)
        brain = ~np.isnan(channels[0])
        channels[:, ~brain] = BACKGROUND
        return Healthy(channels, brain, self.grid.spacings[: len(shape)])

    @property
    def key(self) -> str:
        """The same for the same volumes prepared in the same way in the same order, wherever they lie."""
        return hashlib.sha256("".join(path.stem for path in self.files).encode()).hexdigest()


@dataclass(frozen=True)
class CachedSlices(Sequence[Healthy]):
    """The slices of prepared brains that have enough brain.

    Attributes:
        volumes: where they come from.
        smallest: share of the largest slice of a volume that is enough.
    """

    volumes: CachedVolumes
    smallest: float

    @cached_property
    def _index(self) -> list[tuple[int, int]]:
        found = []
        for number in range(len(self.volumes)):
            enough = slices_with_brain(as_slices(self.volumes[number].brain), self.smallest)
            found += [(number, int(index)) for index in enough]
        return found

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, number: int) -> Healthy:  # type: ignore[override]
        return self.volumes.slice_of(*self._index[number])


@dataclass(frozen=True)
class AlikeCohorts(Sequence[Any]):
    """Several cohorts, from each of which as many brains are learned from: those of smaller ones come repeatedly.

    Attributes:
        cohorts: their brains; none is empty.
    """

    cohorts: tuple[Sequence[Any], ...]

    def __len__(self) -> int:
        return len(self.cohorts) * max(map(len, self.cohorts))

    def __getitem__(self, number: int) -> Any:  # type: ignore[override]
        round_, which = divmod(number, len(self.cohorts))
        cohort = self.cohorts[which]
        return cohort[round_ % len(cohort)]


def centred(stored: np.ndarray[Any, Any], shape: Sequence[int], outside: float, dtype: Any) -> np.ndarray[Any, Any]:
    """Channels [c, …] in the middle of a grid: [c, *shape]; where they are larger, their rim is cut."""
    result = np.full((stored.shape[0], *shape), outside, dtype=dtype)
    there, here = [slice(None)], [slice(None)]
    for want, have in zip(shape, stored.shape[1:], strict=True):
        low = (want - have) // 2
        there.append(slice(max(low, 0), min(low + have, want)))
        here.append(slice(max(-low, 0), min(want - low, have)))
    result[tuple(there)] = stored[tuple(here)]
    return result


def scaled_volume(source: Source, card: ModelCard, report: Report) -> np.ndarray[Any, Any]:
    """A brain as a run prepares it: float16 [c, x, y, z], NaN outside. Raises `UserError`."""
    case = prepared_case(source, card, report)
    return np.where(case.brain, case.channels, np.nan).astype(np.float16)


def prepared_case(source: Source, card: ModelCard, report: Report) -> Prepared:
    """A brain, read and prepared; what there is to warn of is reported. Raises `UserError`."""
    images = dict(zip(card.inputs, source.paths, strict=True))
    case = prepare(read_case(case_name(source.path), images, source.mask), card)
    for warning in case.warnings:
        report(f"warning: {source.path.name}: {warning}")
    return case


def prepared(
    sources: Sequence[Source], folder: Path, card: ModelCard, report: Report, making: Making = scaled_volume
) -> tuple[Path, ...]:
    """The prepared file of each source, made where it is missing or damaged; one file a brain, named by its content.

    Each process makes its shard. The grid of `card` has the smallest sides it can have: it grows to the box of the
    brain.

    Raises:
        UserError: naming the first volume that cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = "" if making is scaled_volume else f"{making.__name__} "
    files = [folder / f"{_fingerprint(source, card, kind)}.npy" for source in sources]
    problem = None
    pairs = list(zip(sources, files, strict=True))
    for part in (shard(pairs), pairs):
        # The second round finds work only where the processes do not see the same folder.
        try:
            for source, file in part:
                if problem is None and not _is_whole(file):
                    report(f"preparing {source.path.name} ({files.index(file) + 1} of {len(files)})")
                    with whole_file(file) as staged, staged.open("wb") as out:
                        np.save(out, making(source, card, report))
        except UserError as error:
            problem = str(error)
        problem = next((each for each in all_gather(problem) if each), None)
    if problem is not None:
        raise UserError(problem)
    return tuple(files)


def fitted_shape(files: Sequence[Path], dimensions: int) -> tuple[int, ...]:
    """The smallest grid that holds every prepared brain; its first and last side are equal, for quarter turns."""
    sides = np.array([opened(file).shape[1 : dimensions + 1] for file in files]).max(axis=0)
    sides[[0, -1]] = max(sides[0], sides[-1])
    return tuple(int(side) for side in sides)


def count_cut(files: Sequence[Path], shape: Sequence[int]) -> int:
    """How many prepared brains do not fit into a grid of `shape`."""
    return sum(any(have > want for have, want in zip(opened(file).shape[1:], shape, strict=False)) for file in files)


def opened(file: Path) -> np.ndarray[Any, Any]:
    """A prepared file, memory-mapped. Raises `UserError`."""
    try:
        array: np.ndarray[Any, Any] = np.load(file, mmap_mode="r")
        if array.ndim != 4 or array.dtype not in (np.float16, np.uint8):
            raise ValueError("it is no prepared volume")
        return array
    except (OSError, ValueError, EOFError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise UserError(f"{file} cannot be read ({why}); remove it and run the same command again.") from None


def _is_whole(file: Path) -> bool:
    if not file.exists():
        return False
    try:
        return opened(file).size > 0
    except UserError:
        return False


def _fingerprint(source: Source, card: ModelCard, making: str) -> str:
    grid = card.grid
    spacings = " ".join(f"{side:g}" for side in grid.spacings)
    kind = (_FORMAT, spacings, len(grid.shape), grid.multiple, card.intensity, len(source.paths), bool(source.mask))
    digest = hashlib.sha256(f"{making}{' '.join(map(str, kind))}".encode())
    for path in (*source.paths, *([source.mask] if source.mask else [])):
        check_plain(path)
        try:
            with path.open("rb") as file:
                while block := file.read(_CHUNK):
                    digest.update(block)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({reason(error)}).") from None
    return digest.hexdigest()[:32]
