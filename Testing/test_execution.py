"""On the bundled brain, with the bundled model: however the method is executed, it finds the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.plain import network_input, plain_run
from benchmarks.watch import Clock
from IterMask3DLib.core.artifacts import MaskHistory, ThresholdCurve
from IterMask3DLib.core.image import BoolVolume, Case
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.core.result import ANOMALY, HEATMAP, CaseResult
from IterMask3DLib.methods.itermask3d.inference_network import InferenceUNet
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.run import CaseRun, finish, run_case
from IterMask3DLib.runtime.openvino import available

BACKENDS = ["pytorch", "openvino"] if available() else ["pytorch"]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(find_model("t1w-2mm"))


@pytest.fixture(scope="module")
def case() -> Case:
    return Case.of(read_image(sample_volume()))


def published(case: Case, model: Model, backend: str, passes: int) -> CaseRun:
    request = Request(device="cpu", quality="published", backend=backend, seed=4, settings={"sweep_passes": passes})
    return CaseRun.of(case, model, request)


def segmented(case: Case, model: Model, **request: Any) -> CaseResult:
    return finish(run_case(case, model, Request(device="cpu", **request)))


def dice(one: BoolVolume, other: BoolVolume) -> float:
    assert one.any() and other.any()
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pass_equals_that_of_the_plain_network(case: Case, model: Model, backend: str) -> None:
    run = published(case, model, backend, 1)
    given = network_input(run.prepared, model, run.settings)
    noise = np.random.default_rng(0).normal(size=given.brain.shape).astype(np.float32)
    channels = torch.from_numpy(np.stack((np.where(given.brain, noise, given.volume), given.high_frequency))[None])
    network = model.networks["reconstruction"]
    with torch.inference_mode():
        plain = network.execute_plainly()(channels)[0, 0]
    network.execute_plainly(False)
    ours = run.runtime.runner(network, InferenceUNet)(channels)[0, 0]
    assert run.runtime.backend == backend
    assert float((ours - plain).abs().max()) <= 1e-4 * float(plain.abs().max())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_whole_run_leaves_the_mask_of_the_plain_loop(case: Case, model: Model, backend: str) -> None:
    run = published(case, model, backend, 8)
    steps = run.method.infer(run.prepared, model, run.settings, run.runtime)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
            break
    (history,) = (each for each in found.artifacts if isinstance(each, MaskHistory))
    plain = plain_run(run.prepared, model, run.settings, 4, Clock())
    assert plain.whole and len(history.sizes) == plain.shrink
    # Rounding moves voxels whose error is the threshold itself, and each pass sees what the one before moved.
    assert dice(found.layers[ANOMALY].read(), plain.mask) >= 0.995


def test_a_published_run_repeats_bit_for_bit(case: Case, model: Model) -> None:
    first, second = (
        segmented(case, model, quality="published", seed=9, settings={"sweep_passes": 5}) for _ in range(2)
    )
    for name in (HEATMAP, ANOMALY):
        np.testing.assert_array_equal(first.array(name), second.array(name))
    one, other = (result.artifact(ThresholdCurve).thresholds for result in (first, second))
    np.testing.assert_array_equal(one, other)


def with_median_multiple(model: Model, multiple: float | None) -> Model:
    return replace(model, card=replace(model.card, settings={**model.card.settings, "median_multiple": multiple}))


def test_fast_finds_what_every_pass_finds_where_the_threshold_is_the_models(case: Case, model: Model) -> None:
    fixed = with_median_multiple(model, 12.0)
    fast, full = (segmented(case, fixed, quality=quality) for quality in ("fast", "full"))
    assert fast.provenance["settings"]["visited"] is not None and full.provenance["settings"]["visited"] is None
    assert fast.artifact(ThresholdCurve).threshold == full.artifact(ThresholdCurve).threshold
    np.testing.assert_array_equal(fast.array(ANOMALY), full.array(ANOMALY))


def test_unless_it_is_asked_for_passes_are_left_out_only_where_they_cannot_change_the_result(
    case: Case, model: Model
) -> None:
    def visited(multiple: float | None, **request: Any) -> Any:
        fixed = with_median_multiple(model, multiple)
        return CaseRun.of(case, fixed, Request(device="cpu", **request)).settings.visited

    assert visited(12.0) is not None
    assert visited(None) is None and visited(None, quality="fast") is not None
    # Whoever gives a gamma has the threshold chosen on the curve.
    assert visited(12.0, settings={"gamma": 0.1}) is None
