"""Volumes and models for tests: made by formulas, or read from the data folder where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from IterMask3DLib.core.card import CardGrid, ModelCard, NetworkEntry
from IterMask3DLib.core.image import Image
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.models.store import save_model

DATA = Path(os.environ.get("ITERMASK3D_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""Folder of real brains (ixi/, ds002748/, open_ms/, heads/); tests that need one that is not there skip."""


def data_file(*parts: str) -> Path:
    """A file of the data folder; skips the test where it is missing."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {'/'.join(parts)} in the folder that ITERMASK3D_DATA names")
    return path


def phantom(
    shape: tuple[int, int, int] = (40, 48, 40), spacing: float = 4.0
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """A stripped brain-sized ellipsoid with waves inside and a bright spot on its right.

    Returns int16 [i, j, k] and its RAS affine (mm).
    """
    i, j, k = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    x, y, z = i * spacing, j * spacing, k * spacing
    brain = (x / 66) ** 2 + (y / 84) ** 2 + (z / 62) ** 2 <= 1
    values = 300 + 60 * np.sin(x / 9) * np.cos(y / 11) + 40 * np.sin(z / 13)
    values[(x - 30) ** 2 + (y - 20) ** 2 + z**2 <= 14**2] += 250
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * spacing for n in shape]
    return np.where(brain, values, 0).astype(np.int16), affine


def phantom_image(shape: tuple[int, int, int] = (40, 48, 40), spacing: float = 4.0, name: str = "phantom") -> Image:
    """The phantom as an image."""
    return Image(*phantom(shape, spacing), name)


def toy_card(name: str = "toy") -> ModelCard:
    """The card of a tiny model on 4 mm voxels with 12 sweep passes; its files and checksums come with its weights."""
    return ModelCard(
        name=name,
        title="Toy",
        method="itermask3d",
        inputs=("T1w",),
        grid=CardGrid(4.0, (48, 48, 48)),
        networks={"reconstruction": NetworkEntry("model.safetensors", config={"widths": [2] * 5, "dropout": 0.2})},
        settings={"high_frequency_cutoff": 0.03, "sweep_passes": 12},
    )


def toy_model(folder: Path) -> Path:
    """A model folder with a tiny untrained network."""
    torch.manual_seed(0)
    save_model(folder, toy_card(folder.name), {"reconstruction": UNet3D((2,) * 5).eval().state_dict()})
    return folder
