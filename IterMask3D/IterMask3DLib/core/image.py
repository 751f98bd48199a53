"""Images in physical space, the case they belong to, and masks as packed bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.geometry import Affine, Spacing, spacing_of, voxel_millilitres

FloatVolume = NDArray[np.float32]
BoolVolume = NDArray[np.bool_]


@dataclass(frozen=True)
class Image:
    """A 3D image in physical space.

    Attributes:
        array: [i, j, k], any numeric type, in the axis order of the file.
        affine: 4x4 float64, voxel index (i, j, k) to RAS mm.
        name: case name, without folder or extension.
        source: the path as given, "" where there is none.
    """

    array: NDArray[Any]
    affine: Affine
    name: str
    source: str = ""

    @property
    def spacing(self) -> Spacing:
        """Voxel size along i, j, k in mm."""
        return spacing_of(self.affine)

    @property
    def voxel_ml(self) -> float:
        """Millilitres of one voxel."""
        return voxel_millilitres(self.affine)

    @property
    def label(self) -> str:
        """What an error message calls the image."""
        return self.source or self.name


@dataclass(frozen=True)
class Case:
    """What one run is made on.

    Attributes:
        name: names the files of the case.
        images: one image for each input channel of the model, by the channel's name, the reference first. A model
            with one channel takes the only image, whatever its key.
        brain_mask: 0 and not 0, on the grid of the reference; None where the brain is to be found.
    """

    name: str
    images: Mapping[str, Image]
    brain_mask: Image | None = None

    @property
    def reference(self) -> Image:
        """The image whose grid the results lie on."""
        return next(iter(self.images.values()))

    @classmethod
    def of(cls, image: Image, brain_mask: Image | None = None) -> Case:
        """A case of one image."""
        return cls(image.name, {"": image}, brain_mask)


@dataclass(frozen=True)
class PackedMask:
    """A boolean volume as one bit a voxel."""

    bits: NDArray[np.uint8]
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, mask: BoolVolume) -> PackedMask:
        x, y, z = mask.shape
        return cls(np.packbits(mask), (x, y, z))

    def unpack(self) -> BoolVolume:
        """Boolean [x, y, z]."""
        return np.unpackbits(self.bits, count=int(np.prod(self.shape))).reshape(self.shape).view(np.bool_)
