"""On the bundled brain, with the bundled model: however the method is executed, it finds the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.plain import plain_run
from benchmarks.watch import Clock
from IterMask3DLib.engine import openvino_execution
from IterMask3DLib.runtime.device import BackendName
from IterMask3DLib.models.store import Model, find_model, load_model
from IterMask3DLib.core.image import BoolVolume, Image
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.methods.itermask3d.loop import refine, result_of
from IterMask3DLib.run import Request, Study, segment, settings_of, study

BACKENDS: list[BackendName] = ["pytorch", "openvino"] if openvino_execution.available() else ["pytorch"]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(find_model(None))


@pytest.fixture(scope="module")
def volume() -> Image:
    return read_image(sample_volume())


def published(volume: Image, model: Model, backend: BackendName, passes: int) -> Study:
    return study(volume, model, Request(device="cpu", quality="published", backend=backend, passes=passes, seed=4))


def dice(one: BoolVolume, other: BoolVolume) -> float:
    assert one.any() and other.any()
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pass_equals_that_of_the_plain_network(volume: Image, model: Model, backend: BackendName) -> None:
    case = published(volume, model, backend, 1).case
    hidden = np.where(case.brain, np.random.default_rng(0).normal(size=case.brain.shape).astype(np.float32), case.volume)
    given = torch.from_numpy(np.stack((hidden, case.high_frequency))[None])
    with torch.inference_mode():
        plain = model.network.execute_plainly()(given)[0, 0]
    model.network.execute_plainly(False)
    ours = published(volume, model, backend, 1).runner(given)
    assert float((ours - plain).abs().max()) <= 1e-4 * float(plain.abs().max())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_whole_run_leaves_the_mask_of_the_plain_loop(volume: Image, model: Model, backend: BackendName) -> None:
    made = published(volume, model, backend, 8)
    ours = result_of(refine(made.case, made.runner, made.settings))
    plain = plain_run(made.case, model.network, made.settings, Clock())
    assert plain.whole and len(ours.shrink) == plain.shrink
    # Rounding moves voxels whose error is the threshold itself, and each pass sees what the one before moved.
    assert dice(ours.mask, plain.mask) >= 0.995


def test_a_published_run_repeats_bit_for_bit(volume: Image, model: Model) -> None:
    request = Request(device="cpu", quality="published", passes=5, seed=9)
    first, second = (segment(volume, model, request) for _ in range(2))
    np.testing.assert_array_equal(first.heatmap, second.heatmap)
    np.testing.assert_array_equal(first.anomaly, second.anomaly)
    np.testing.assert_array_equal(first.curve.thresholds, second.curve.thresholds)


def with_times_median(model: Model, times: float | None) -> Model:
    return replace(model, card=replace(model.card, scoring=replace(model.card.scoring, times_median=times)))


def test_the_fast_quality_finds_what_every_pass_finds_where_the_threshold_is_the_models(volume: Image, model: Model) -> None:
    fixed = with_times_median(model, 12.0)
    fast, full = (segment(volume, fixed, Request(device="cpu", quality=quality)) for quality in ("fast", "full"))
    assert fast.provenance["settings"]["visited"] is not None and full.provenance["settings"]["visited"] is None
    assert fast.curve.threshold == full.curve.threshold
    np.testing.assert_array_equal(fast.anomaly, full.anomaly)


def test_unless_it_is_asked_for_passes_are_left_out_only_where_they_cannot_change_the_result(volume: Image, model: Model) -> None:
    fixed, free = with_times_median(model, 12.0), with_times_median(model, None)
    assert settings_of(fixed, Request()).visited is not None
    assert settings_of(free, Request()).visited is None and settings_of(free, Request(quality="fast")).visited is not None
    # Whoever gives a gamma has the threshold chosen on the curve.
    assert settings_of(fixed, Request(gamma=0.1)).visited is None
