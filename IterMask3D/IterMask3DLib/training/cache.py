"""Volumes prepared once, as an inference prepares them, and read as memory-mapped arrays ever after."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.intensity import BACKGROUND
from IterMask3DLib.methods.itermask3d.network import SIDE_MULTIPLE
from IterMask3DLib.preprocessing.prepare import Grid, prepare
from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.runtime.distributed import share, together
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.training.cohort import Source

INTENSITY = "zscore_clip3"
_FORMAT = 1
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Cached:
    """Prepared volumes, centred on a grid of `shape`. Each is a file of float16 [x, y, z], NaN outside the brain.

    Files are opened when they are read, so a cohort of any size needs no more than one open file; the pages stay in the system's memory.
    """

    files: tuple[Path, ...]
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[FloatVolume, BoolVolume]:
        """The scaled volume float32 [x, y, z] and its brain."""
        stored = np.load(self.files[number], mmap_mode="r")
        volume = np.full(self.shape, np.nan, dtype=np.float32)
        there, here = zip(*(_overlap(want, have) for want, have in zip(self.shape, stored.shape, strict=True)), strict=True)
        volume[there] = stored[here]
        brain = ~np.isnan(volume)
        volume[~brain] = BACKGROUND
        return volume, brain

    @property
    def key(self) -> str:
        """The same for the same volumes prepared in the same way in the same order, wherever they lie."""
        return hashlib.sha256("".join(path.stem for path in self.files).encode()).hexdigest()


def _overlap(want: int, have: int) -> tuple[slice, slice]:
    """Where a side of `have` voxels and one of `want` voxels meet when their middles do: in the wanted one, in the other."""
    low = (want - have) // 2
    return slice(max(low, 0), min(low + have, want)), slice(max(-low, 0), min(want - low, have))


def prepared(sources: Sequence[Source], folder: Path, spacing: float, tell: Callable[[str], None]) -> tuple[Path, ...]:
    """The prepared file of each source, made where it is missing: one whole file a volume, named by the content it was made from.

    Each process makes its share. Raises `UserError` naming the first volume that cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{_fingerprint(source, spacing)}.npy" for source in sources]
    problem = None
    pairs = list(zip(sources, files, strict=True))
    for part in (share(pairs), pairs):
        # The second round finds work only where the processes do not see the same folder.
        try:
            for source, file in part:
                if problem is None and not file.exists():
                    tell(f"preparing {source.path.name} ({files.index(file) + 1} of {len(files)})")
                    _prepare(source, file, spacing, tell)
        except UserError as error:
            problem = str(error)
        problem = next((each for each in together(problem) if each), None)
    if problem is not None:
        raise UserError(problem)
    return tuple(files)


def fitted_shape(files: Sequence[Path]) -> tuple[int, ...]:
    """The smallest grid that holds every prepared volume, as wide along the first axis as along the last so that it can be turned."""
    sides = np.array([np.load(file, mmap_mode="r").shape for file in files]).max(axis=0)
    sides[[0, 2]] = max(sides[0], sides[2])
    return tuple(int(side) for side in sides)


def cut_volumes(files: Sequence[Path], shape: Sequence[int]) -> int:
    """How many prepared volumes have a brain that does not fit into a grid of `shape`."""
    return sum(any(have > want for have, want in zip(np.load(file, mmap_mode="r").shape, shape, strict=True)) for file in files)


def _fingerprint(source: Source, spacing: float) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {spacing:g} {INTENSITY} {source.mask is not None}".encode())
    for path in (source.path, source.mask):
        if path is None:
            continue
        try:
            with path.open("rb") as file:
                while block := file.read(_CHUNK):
                    digest.update(block)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}).") from None
    return digest.hexdigest()[:32]


def _prepare(source: Source, file: Path, spacing: float, tell: Callable[[str], None]) -> None:
    mask = read_image(source.mask) if source.mask is not None else None
    # A grid of one block grows to the box of the brain.
    made = prepare(read_image(source.path), Grid(spacing, (SIDE_MULTIPLE,) * 3, INTENSITY), mask)  # type: ignore[arg-type]
    for warning in made.warnings:
        tell(f"warning: {source.path.name}: {warning}")
    write_whole(file, lambda beside: _save(beside, np.where(made.brain, made.volume, np.nan).astype(np.float16)))


def _save(path: Path, array: np.ndarray[Any, Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Lets `write` fill a file beside `path`, then renames it, so that a killed process leaves the earlier whole file or none."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
