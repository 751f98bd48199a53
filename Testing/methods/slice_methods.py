"""Runs of a method, and of the methods of slices trainings that take seconds and published checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from IterMask3DLib.cli import main
from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import CaseResult, Step
from IterMask3DLib.methods.itermask2.network import CHANNELS, FIRST, MASKED, network
from IterMask3DLib.methods.mae.network import AUTOENCODER, CLASSIFIER, built
from IterMask3DLib.methods.mae.settings import MAETrainingSettings
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.run import finish, run_case
from Testing.methods.published import fill_published

_EVERY_TRAINING = (
    *("--spacing", 8, "--steps", 4, "--batch", 4, "--precision", "fp32", "--schedule", "constant"),
    *("--validate-every", 4, "--checkpoint-every", 2, "--log-every", 1, "--device", "cpu", "--workers", 1),
)


@dataclass(frozen=True)
class SliceMethod:
    """A method, its stages, and the words of a training of it."""

    name: str
    stages: tuple[str, str]
    words: tuple[object, ...]

    @property
    def training(self) -> tuple[object, ...]:
        return "--method", self.name, *_EVERY_TRAINING, *self.words

    def train(self, folder: Path, out: Path, *more: object) -> int:
        """As the command line does it, with what was prepared for others; networks are run by PyTorch."""
        words = ("train", folder / "data", "-o", out, *self.training, *more, "--cache", folder / "cache")
        with patch("IterMask3DLib.runtime.openvino.available", return_value=False):
            return main([str(word) for word in words])

    def networks(self) -> Mapping[str, nn.Module]:
        """Networks as published, not so wide and deep."""
        if self.name == "itermask2":
            return {name: network(name, width=4) for name in CHANNELS}
        settings = MAETrainingSettings(patch=16, width=64, depth=2, heads=1)
        return built((64, 64), replace(settings, decoder_width=32, decoder_depth=1, decoder_heads=1))

    def checkpoints(self, folder: Path) -> dict[str, Path]:
        """Files as the published code leaves them, by network."""
        found = {}
        for name, network_ in self.networks().items():
            found[name] = folder / f"{name}.pt"
            state = fill_published(network_).state_dict()
            torch.save(state if self.name == "itermask2" else {"model": state, "epoch": 1599}, found[name])
        return found


ITERMASK2 = SliceMethod("itermask2", (FIRST, MASKED), ("--width", 2, "--dropout", 0))
MAE = SliceMethod(
    "mae",
    (AUTOENCODER, CLASSIFIER),
    (
        *("--patch", 4, "--width", 12, "--depth", 2, "--decoder-width", 8, "--decoder-depth", 1),
        *("--drop-path", 0, "--classifier-steps", 4, "--seed", 1),
    ),
)


def run(model: Model, image: Image | Case, **settings: Any) -> tuple[CaseResult, list[Step]]:
    """The result of a run and its steps."""
    case = image if isinstance(image, Case) else Case.of(image)
    steps: list[Step] = []

    def keep(event: object) -> None:
        if isinstance(event, Step):
            steps.append(event)

    request = Request(device="cpu", backend="pytorch", settings=settings)
    return finish(run_case(case, model, request), keep), steps


def first_volume(folder: Path) -> Image:
    return read_image(folder / "data" / "c0.nii.gz")


def thin(image: Image) -> Image:
    """A slab of a volume, with too few slices for a brain."""
    return Image(np.ascontiguousarray(image.array[:, :, 16:21]), image.affine, "thin")
