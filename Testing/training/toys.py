"""Small healthy cohorts and trainings that take seconds."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.training.checkpoint import load_checkpoint
from IterMask3DLib.training.loop import StageTrainer
from IterMask3DLib.training.options import TrainingOptions, training_options
from IterMask3DLib.training.run import TrainingRequest

AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
TOY = {
    "spacing": 4.0,
    "widths": (2, 2, 4, 4, 4),
    "steps": 8,
    "batch": 2,
    "learning_rate": 1e-2,
    "precision": "fp32",
    "validate_every": 4,
    "checkpoint_every": 4,
    "log_every": 1,
}


@contextmanager
def interrupted(step: int, stage: str | None = None) -> Iterator[None]:
    """Trainings inside end as by Ctrl-C before a step; `stage`: of this one alone."""
    real = StageTrainer._step

    def stopped(self: StageTrainer, number: int, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if number == step and stage in (None, self.setup.stage.name):
            raise KeyboardInterrupt
        return real(self, number, batch)

    with patch.object(StageTrainer, "_step", stopped):
        yield


def toy_options(**changes: Any) -> TrainingOptions:
    """Options of a training of a tiny IterMask3D."""
    return training_options("itermask3d", {**TOY, **changes}, "test")


def toy_brain(seed: int, stripped: bool = True) -> NDArray[np.uint8]:
    """A brain-sized ellipsoid with waves and noise on 4 mm voxels; around it 0, or where it is not stripped a head."""
    x, y, z = (np.indices((36, 44, 36)) * 4.0) - np.array([70, 86, 70])[:, None, None, None]
    brain = (x / 60) ** 2 + (y / 72) ** 2 + (z / 58) ** 2 <= 1
    waves = 120 + 50 * np.sin(x / (9 + seed % 3)) * np.cos(y / 11) + 30 * np.sin(z / 13)
    values = np.clip(waves + np.random.default_rng(seed).normal(0, 5, brain.shape), 1, 255)
    return np.where(brain, values, 0 if stripped else 40 + x / 4).astype(np.uint8)


def toy_mask() -> NDArray[np.uint8]:
    return (toy_brain(0) > 0).astype(np.uint8)


def flat_cohort(folder: Path, count: int = 4) -> Path:
    """A folder of `count` stripped volumes, c0.nii.gz and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        write_nifti(toy_brain(seed), AFFINE, folder / f"c{seed}.nii.gz")
    return folder


def paired_cohort(folder: Path, count: int = 4) -> Path:
    """A BIDS folder of `count` subjects with a T1w and a T2w volume each, the second one the first upside down."""
    for number in range(count):
        stem = folder / f"sub-{number}" / "anat" / f"sub-{number}"
        stem.parent.mkdir(parents=True)
        brain = toy_brain(number)
        write_nifti(brain, AFFINE, stem.with_name(f"{stem.name}_T1w.nii.gz"))
        write_nifti(
            np.where(brain > 0, 256 - brain.astype(np.int16), 0), AFFINE, stem.with_name(f"{stem.name}_T2w.nii.gz")
        )
    return folder


def smallest_card(*inputs: str, spacing: float = 4.0, dimensions: int = 3) -> ModelCard:
    """The card that volumes are prepared for before the shape of the grid is known."""
    return ModelCard("toy", "", "itermask3d", inputs or ("T1w",), CardGrid(spacing, (16,) * dimensions), {})


def request(data: Path, run: Path, **changes: Any) -> TrainingRequest:
    """A toy training on the CPU; volumes prepared for one run of a test serve the others."""
    return TrainingRequest((data,), run, toy_options(**changes), cache=run.parent / "cache", device="cpu", workers=1)


def column(path: Path, name: str) -> list[float]:
    """A column of a table of the run."""
    with path.open(encoding="utf-8", newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def weights(stage: Path) -> dict[str, torch.Tensor]:
    """The tensors of a stage's checkpoint, with those of the moving average where there is one."""
    checkpoint = load_checkpoint(stage / "checkpoint.pt")
    assert checkpoint is not None
    states = {"": checkpoint.networks, "average of ": checkpoint.average or {}}
    return {
        f"{prefix}{network}.{name}": tensor
        for prefix, networks in states.items()
        for network, state in networks.items()
        for name, tensor in state.items()
    }


def same(one: Path, other: Path) -> bool:
    """Whether two stages hold the same weights, bit for bit."""
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(tensor, second[name]) for name, tensor in first.items())
