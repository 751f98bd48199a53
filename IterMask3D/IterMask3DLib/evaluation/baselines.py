"""What every method has to beat: thresholds on intensity, on a z-score against a mean healthy brain, and on the error of an auto-encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from IterMask3DLib.runtime.device import DeviceName, choose_place
from IterMask3DLib.preprocessing.prepare import prepare
from IterMask3DLib.core.image import BoolVolume, FloatVolume, Image
from IterMask3DLib.evaluation import autoencoder
from IterMask3DLib.evaluation.finders import ERROR_THRESHOLDS, Scorer, Thresholded
from IterMask3DLib.evaluation.mean_brain import MeanBrain, z_score

MEISSEN_SMALLEST = 20
"""Voxels; smaller components are removed from the intensity baseline's mask."""


@dataclass(frozen=True)
class Intensity:
    """Dark or bright voxels after histogram equalisation inside the brain.

    Source: Meissen et al., "Challenging current semi-supervised anomaly segmentation methods for brain MRI", 2021. Their FLAIR lesions are
    bright; strokes and multiple sclerosis on T1 are dark.
    """

    side: Literal["dark", "bright"]

    @property
    def name(self) -> str:
        return f"intensity_{self.side}"

    @property
    def title(self) -> str:
        return f"{self.side.capitalize()} voxels (histogram-equalised)"

    @property
    def thresholds(self) -> NDArray[np.float64]:
        return np.linspace(0, 1, 501)

    def identity(self) -> Mapping[str, Any]:
        return {"side": self.side}

    def score(self, volume: Image, brain: BoolVolume) -> tuple[FloatVolume, FloatVolume | None]:
        """Share of the brain's voxels that are less dark (or less bright) than a voxel, ties counting half."""
        values = volume.array[brain]
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        below = (np.cumsum(counts) - counts / 2) / len(values)
        rank = below[inverse.reshape(-1)]
        score = np.zeros(volume.array.shape, dtype=np.float32)
        score[brain] = 1 - rank if self.side == "dark" else rank
        return score, None


@dataclass(frozen=True)
class ZScore:
    """Distance of each voxel from the mean of healthy brains, in their standard deviations, after an affine fit."""

    mean_brain: MeanBrain
    name: str = "z_score"
    title: str = "Z-score against the mean healthy brain"

    @property
    def thresholds(self) -> NDArray[np.float64]:
        return np.linspace(0, 12, 601)

    def identity(self) -> Mapping[str, Any]:
        return {"mean_brain": self.mean_brain.digest}

    def score(self, volume: Image, brain: BoolVolume) -> tuple[FloatVolume, FloatVolume | None]:
        """|z|."""
        return np.abs(z_score(volume, brain, self.mean_brain)), None


@dataclass(frozen=True)
class AutoEncoderError:
    """Squared error of an auto-encoder's reconstruction."""

    network: autoencoder.AutoEncoder
    settings: autoencoder.Settings
    digest: str
    device: DeviceName = "auto"
    name: str = "autoencoder"
    title: str = "Auto-encoder"

    @property
    def thresholds(self) -> NDArray[np.float64]:
        return ERROR_THRESHOLDS

    @classmethod
    def read(cls, folder: Path, device: DeviceName = "auto") -> AutoEncoderError:
        """The auto-encoder in a folder that `autoencoder.train` wrote. Raises `UserError`."""
        network, settings = autoencoder.load(folder)
        return cls(network, settings, hashlib.sha256((folder / autoencoder.WEIGHTS).read_bytes()).hexdigest(), device)

    def identity(self) -> Mapping[str, Any]:
        return {"sha256": self.digest, "settings": asdict(self.settings)}

    def score(self, volume: Image, brain: BoolVolume) -> tuple[FloatVolume, FloatVolume | None]:
        """Squared error in scaled intensity."""
        prepared = prepare(volume, self.settings.grid, Image(brain, volume.affine, volume.name, volume.source or volume.name))
        device = choose_place(self.device).device
        with torch.inference_mode():
            given = torch.from_numpy(prepared.volume)[None, None].to(device)
            reconstruction = self.network.to(device)(given)[0, 0].cpu().numpy()
        errors = np.square(reconstruction - prepared.volume) * prepared.brain
        return prepared.restore_map(errors) * brain, prepared.restore_intensity(reconstruction)


def with_threshold(scorer: Scorer, threshold: float) -> Thresholded:
    """The baseline with the threshold that was chosen for it."""
    return Thresholded(scorer, threshold, MEISSEN_SMALLEST if isinstance(scorer, Intensity) else 0)
