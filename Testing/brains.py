"""Volumes and models for tests: made by formulas, or read from the data folder where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from IterMask3DLib.core.card import Card, CardGrid, Thresholds
from IterMask3DLib.models.store import save_model
from IterMask3DLib.methods.itermask3d.network import UNet3D

DATA = Path(os.environ.get("ITERMASK3D_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""Folder of real brains (ixi/, ds002748/, open_ms/, heads/); tests that need one that is not there skip."""


def data_file(*parts: str) -> Path:
    """A file of the data folder; skips the test where it is missing."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {'/'.join(parts)} in the folder that ITERMASK3D_DATA names")
    return path


def phantom(shape: tuple[int, int, int] = (40, 48, 40), spacing: float = 4.0) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """A stripped brain-sized ellipsoid with waves inside and a bright spot on its right: int16 [i, j, k] and RAS affine."""
    i, j, k = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    x, y, z = i * spacing, j * spacing, k * spacing
    brain = (x / 66) ** 2 + (y / 84) ** 2 + (z / 62) ** 2 <= 1
    values = 300 + 60 * np.sin(x / 9) * np.cos(y / 11) + 40 * np.sin(z / 13)
    values[(x - 30) ** 2 + (y - 20) ** 2 + z**2 <= 14**2] += 250
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * spacing for n in shape]
    return np.where(brain, values, 0).astype(np.int16), affine


def toy_model(folder: Path) -> Path:
    """A model folder with a tiny untrained network on 4 mm voxels and 12 sweep passes."""
    torch.manual_seed(0)
    card = Card(
        name=folder.name,
        title="Toy",
        modality="T1w",
        grid=CardGrid(4.0, (48, 48, 48)),
        widths=(2, 2, 2, 2, 2),
        high_frequency_cutoff=0.03,
        thresholds=Thresholds(passes=12),
    )
    save_model(folder, UNet3D(card.widths).eval(), card)
    return folder
