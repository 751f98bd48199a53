"""The masked auto-encoder's augmentation: windows that fill the image, boxes of noise."""

from __future__ import annotations

import numpy as np
import torch

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.methods.base import Healthy
from IterMask3DLib.methods.mae.network import AUTOENCODER, CLASSIFIER
from IterMask3DLib.methods.mae.settings import MAETrainingSettings
from IterMask3DLib.methods.mae.training import MAETask
from IterMask3DLib.methods.mae.windows import enlarged, erased, random_erasure, random_window

SHAPE = (48, 32)


def test_the_whole_image_is_its_own_window() -> None:
    image = torch.rand(2, 1, *SHAPE)
    whole = torch.tensor([[0.0, 0.0, *SHAPE]] * 2)
    torch.testing.assert_close(enlarged(image, whole), image, atol=1e-5, rtol=0)


def test_a_window_shows_what_lies_in_it() -> None:
    x, y = torch.meshgrid(torch.arange(48.0), torch.arange(32.0), indexing="ij")
    shown = enlarged(torch.stack((x, y))[:, None], torch.tensor([[12.0, 8.0, 24.0, 16.0]] * 2))[:, 0]
    # The centre of the first pixel lies a quarter of a pixel before that of the window's first pixel. Cubic convolution
    # as torch does it is off by up to a twentieth of a pixel on a ramp.
    torch.testing.assert_close(shown[0], (11.75 + torch.arange(48.0) / 2)[:, None].expand(SHAPE), atol=0.06, rtol=0)
    torch.testing.assert_close(shown[1], (7.75 + torch.arange(32.0) / 2).expand(SHAPE), atol=0.06, rtol=0)


def test_windows_keep_their_area_and_proportion() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([random_window(SHAPE, 0.2, rng) for _ in range(300)])
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= SHAPE).all()
    cut = boxes[(boxes[:, 2:] < SHAPE).any(axis=1)]
    shares, aspects = cut[:, 2] * cut[:, 3] / np.prod(SHAPE), cut[:, 2] / cut[:, 3]
    assert len(cut) > 250 and 0.18 < shares.min() < 0.3 and 0.6 < shares.max() <= 1
    assert 0.7 < aspects.min() < 0.8 and 1.25 < aspects.max() < 1.42


def test_a_share_of_images_has_a_box_of_noise() -> None:
    rng = np.random.default_rng(0)
    noise = np.stack([random_erasure(SHAPE, 0.25, rng) for _ in range(400)])
    hidden = ~np.isnan(noise)
    chosen = hidden.any(axis=(1, 2))
    assert 0.2 < chosen.mean() < 0.3 and 0.015 < hidden[chosen].mean(axis=(1, 2)).min() < 0.05
    assert hidden[chosen].mean(axis=(1, 2)).max() < 0.36 and abs(np.nanstd(noise) - 1) < 0.02
    given = torch.zeros(400, 1, *SHAPE)
    shown = erased(given, torch.from_numpy(noise)[:, None]).numpy()[:, 0]
    np.testing.assert_array_equal(shown, np.where(hidden, noise, 0))


def test_training_is_shown_windows_and_validation_whole_slices() -> None:
    settings = MAETrainingSettings(smallest_window=0.5, classifier_smallest_window=0.1, erased_share=1.0)
    card = ModelCard("toy", "Toy", "mae", ("T1w",), CardGrid(4.0, SHAPE, multiple=16), {})
    task = MAETask(card, settings)
    rng = np.random.default_rng(0)
    brain = np.ones(SHAPE, dtype=bool)
    healthy = Healthy(rng.random((1, *SHAPE), dtype=np.float32), brain, (4.0, 4.0))
    first, second = (task.example(stage, healthy, rng) for stage in (AUTOENCODER, CLASSIFIER))
    assert "window" in first and "erasure" not in first and {"window", "erasure"} <= set(second)
    for stage, kind in ((AUTOENCODER, "masked"), (CLASSIFIER, "abnormal")):
        assert not {"window", "erasure"} & set(task.example(stage, healthy, rng, kind))
    autoencoder = task.networks(AUTOENCODER, {})
    networks = {**autoencoder, **task.networks(CLASSIFIER, autoencoder)}
    for stage, example in ((AUTOENCODER, first), (CLASSIFIER, second)):
        batch = {name: torch.from_numpy(np.asarray(value))[None] for name, value in example.items()}
        assert torch.isfinite(task.loss(stage, networks, batch))
