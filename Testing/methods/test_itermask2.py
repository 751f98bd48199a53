"""IterMask2: its networks, its loop and its threshold have the published numbers; its masks cover what they should."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from IterMask3DLib.core.card import CardGrid, ModelCard, NetworkEntry
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.result import Step
from IterMask3DLib.methods.itermask2.calibration import validation_threshold
from IterMask3DLib.methods.itermask2.loop import Slices, refine
from IterMask3DLib.methods.itermask2.masks import sample_slice_mask
from IterMask3DLib.methods.itermask2.network import CHANNELS, FIRST, MASKED, network, networks_of
from IterMask3DLib.methods.itermask2.settings import IterMask2Settings
from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.methods.slices import in_batches
from IterMask3DLib.preprocessing.intensity import p90
from IterMask3DLib.runtime.device import Device
from IterMask3DLib.runtime.runner import Runtime
from Testing.methods.published import GOLDEN, fill_published, published_slices
from Testing.methods.slice_methods import ITERMASK2

NUMBERS: dict[str, Any] = json.loads((GOLDEN / "itermask2.json").read_text(encoding="utf-8"))
POINTS = ((0, 0, 0, 0), (0, 0, 20, 31), (1, 0, 40, 7), (1, 0, 63, 63))
SPACING, CUTOFF = (1.0, 1.0, 1.0), 15 / 64


def published_images() -> Slices:
    """The recipe's two slices with a lesion each, as a volume of two slices."""
    images = np.load(GOLDEN / "img64.npy")[:, 0]
    b, i, j = np.indices(images.shape)
    brain = ((i - 31.5) / 26) ** 2 + ((j - 31.5) / (22 + 2 * b)) ** 2 <= 1
    return Slices.of(np.moveaxis(images, 0, -1), np.moveaxis(brain, 0, -1), SPACING, CUTOFF)


def published_lesions() -> np.ndarray:
    b, i, j = np.indices((2, 64, 64))
    return (i - (40 - 6 * b)) ** 2 + (j - (26 + 4 * b)) ** 2 <= 25


class Stubs:
    """The recipe's stand-ins for the networks, without noise; they count how often the second one is asked."""

    def __init__(self) -> None:
        self.passes: list[Step] = []

    def first(self, given: torch.Tensor) -> torch.Tensor:
        return 0.5 * functional.avg_pool2d(given, 3, 1, 1) + 0.4

    def masked(self, given: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(given[:, :1], 7, 1, 3)

    def run(self, given: Slices, **changes: Any) -> Any:
        settings = IterMask2Settings(threshold=NUMBERS["val_threshold"]["thr"], **changes)
        assert settings.threshold is not None

        def nothing(number: int, voxels: int) -> np.ndarray:
            return np.zeros(voxels, dtype=np.float32)

        steps = refine(given, self.first, self.masked, settings.threshold, settings, nothing)
        while True:
            try:
                self.passes.append(next(steps))
            except StopIteration as end:
                return end.value


def test_the_state_dicts_have_the_published_names_shapes_types_and_order() -> None:
    rows = [line.split("\t") for line in (GOLDEN / "keys_itermask2_cond.tsv").read_text(encoding="utf-8").splitlines()]
    state = network(MASKED).state_dict()
    ours = [
        [name, "x".join(map(str, tensor.shape)) or "scalar", str(tensor.dtype).removeprefix("torch.")]
        for name, tensor in state.items()
    ]
    assert len(ours) == 753 and ours == rows
    assert sum(tensor.is_floating_point() for tensor in state.values()) == NUMBERS["filled_cond_True"]
    assert list(network(FIRST).state_dict()) == list(state)


@pytest.mark.parametrize(("name", "count"), [(FIRST, 6_599_969), (MASKED, 6_600_257)])
def test_they_have_the_published_numbers_of_parameters_and_learn_with_those_that_are_used(
    name: str, count: int
) -> None:
    parameters = list(network(name).parameters())
    assert sum(each.numel() for each in parameters) == count
    assert sum(each.numel() for each in parameters if not each.requires_grad) == 681_216


@pytest.mark.parametrize(("name", "key"), [(FIRST, "unet_cond_False"), (MASKED, "unet_cond_True")])
def test_their_outputs_have_the_published_numbers(name: str, key: str) -> None:
    # With these weights the network is chaotic: its recipe holds to 1e-2 a point and 1e-4 in the mean. In double
    # precision the rounding of one machine's kernels adds nothing to that.
    with torch.inference_mode():
        output = fill_published(network(name)).double()(published_slices(64, CHANNELS[name]).double())
    assert float(output.mean()) == pytest.approx(NUMBERS[key]["mean"], abs=1e-4)
    for point in POINTS:
        assert float(output[point]) == pytest.approx(NUMBERS[key][str(list(point))], abs=1e-2)


def test_with_tamer_weights_single_precision_is_exact_and_openvino_gives_the_same() -> None:
    pytest.importorskip("openvino")
    built, given = fill_published(network(MASKED, width=8)), published_slices(32, 2)
    with torch.no_grad():
        for tensor in built.state_dict().values():
            if tensor.ndim > 1:
                tensor *= 0.9
    single = Runtime(Device("cpu"), "pytorch").runner(built)(given)
    fast = Runtime(Device("cpu"), "openvino").runner(built)(given)
    with torch.inference_mode():
        exact = built.double()(given.double())
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-5)
    torch.testing.assert_close(fast.double(), exact, rtol=0, atol=1e-5)


def test_the_high_frequencies_of_a_slice_have_the_published_numbers() -> None:
    image = published_images().high_frequency[:, None]
    wanted = NUMBERS["highfreq"]
    measured = {"mean": image.mean(), "std": image.std(ddof=1), "min": image.min(), "max": image.max()}
    measured |= {str(list(point)): image[point] for point in POINTS}
    assert measured == pytest.approx(wanted, abs=1e-5)


def test_those_of_a_slice_are_not_those_of_its_volume() -> None:
    volume = np.random.default_rng(0).standard_normal((16, 16, 8)).astype(np.float32)
    one = high_frequency(volume[..., 3], SPACING[:2], 0.2)
    assert one.shape == (16, 16) and not np.allclose(one, high_frequency(volume, SPACING, 0.2)[..., 3], atol=0.1)


def test_the_validation_threshold_has_the_published_numbers() -> None:
    n = np.arange(4 * 64 * 64)
    errors = (0.5 * np.sin(0.37 * n) ** 2 + 0.3 * ((7919 * n) % 1000) / 1000).reshape(4, 64, 64)
    _, row, column = np.indices(errors.shape)
    masked = errors[(row > 10) & (column < 40)].astype(np.float32)
    wanted = NUMBERS["val_threshold"]
    assert len(masked) == wanted["mask_sum"]
    assert validation_threshold(masked, 0.2) == pytest.approx(wanted["thr"], abs=1e-6)
    # The same element as that of the whole slices, where what is not masked counts as 0.
    everything = np.concatenate((masked, np.zeros(errors.size - len(masked), dtype=np.float32)))
    assert validation_threshold(masked, 0.2) == np.sort(everything)[wanted["k"] - 1]


def test_the_loop_has_the_published_numbers() -> None:
    given, stubs = published_images(), Stubs()
    assert [float(each.sum()) for each in given.brain] == NUMBERS["images"]["brain"]
    result = stubs.run(given)
    wanted, mask = NUMBERS["refine"], np.moveaxis(result.layers["anomaly"].read(), -1, 0)
    assert [step.phase for step in stubs.passes] == ["first", *["shrink"] * wanted["ae_calls"]]
    assert mask.sum(axis=(1, 2)).tolist() == wanted["final_mask_sum"]
    assert (mask & published_lesions()).sum(axis=(1, 2)).tolist() == wanted["overlap_with_lesion"]
    means = np.moveaxis(result.layers["reconstruction"].read(), -1, 0).mean(axis=(1, 2))
    assert means.tolist() == pytest.approx(wanted["final_recon_mean"], abs=1e-5)
    assert stubs.passes[-1].expected_total == len(stubs.passes) and result.warnings == ()


@pytest.mark.parametrize("number", [0, 1])
def test_a_slice_by_itself_ends_as_beside_others(number: int) -> None:
    whole, stubs = published_images(), Stubs()
    alone = Slices(*(part[number : number + 1] for part in (whole.values, whole.high_frequency, whole.brain)))
    result, wanted = stubs.run(alone), NUMBERS[f"refine_single_{number}"]
    assert len(stubs.passes) - 1 == wanted["ae_calls"]
    assert result.scalars["mask_size"] == wanted["mask_sum"]
    assert float(result.layers["reconstruction"].read().mean()) == pytest.approx(wanted["recon_mean"], abs=1e-5)


def test_the_first_pass_leaves_the_same_share_of_each_slice_and_masks_only_shrink() -> None:
    given, stubs = published_images(), Stubs()
    stubs.run(given, first_share=0.5)
    masks = [step.layers["mask"].read() for step in stubs.passes]
    first, brain = masks[0].sum(axis=(0, 1)), given.brain.sum(axis=(1, 2))
    np.testing.assert_allclose(first, 0.5 * brain, atol=1)
    assert all((later <= earlier).all() for earlier, later in pairwise(masks))
    fractions = [step.scalars["masked_fraction"] for step in stubs.passes]
    assert fractions == pytest.approx([mask.sum() / given.brain.sum() for mask in masks])


def test_a_run_that_is_stopped_has_the_mask_of_its_last_pass_and_says_so() -> None:
    stubs = Stubs()
    stubs.run(published_images())
    stop = stubs.passes[2].stop
    assert stop is not None
    result = stop()
    np.testing.assert_array_equal(result.layers["anomaly"].read(), stubs.passes[2].layers["mask"].read())
    assert "was cancelled" in result.warnings[0]


def test_a_loop_that_does_not_end_is_ended() -> None:
    stubs = Stubs()
    result = stubs.run(published_images(), max_shrink=2)
    assert len(stubs.passes) == 3 and "still shrinking after 2 passes" in result.warnings[0]


def test_slices_with_little_brain_are_left_alone() -> None:
    given, stubs = published_images(), Stubs()
    given.brain[1] = False
    given.brain[1, 30:36, 30:36] = True
    result = stubs.run(given)
    assert result.layers["anomaly"].read()[..., 1].sum() == 0 and result.layers["heatmap"].read()[..., 1].max() == 0
    assert result.layers["anomaly"].read()[..., 0].sum() == NUMBERS["refine"]["final_mask_sum"][0]


def test_the_size_of_a_batch_decides_nothing() -> None:
    torch.manual_seed(0)
    built = fill_published(network(MASKED, width=2))
    given, sizes = torch.randn(5, 2, 16, 32), []

    def asked(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        with torch.inference_mode():
            return built(batch)

    torch.testing.assert_close(in_batches(asked, given, 2), in_batches(asked, given, 5), rtol=1e-4, atol=1e-4)
    assert sizes == [2, 2, 2, 5]


def ellipse(spacing: float) -> np.ndarray:
    """A brain of 140 by 180 mm."""
    i, j = (np.indices((int(240 / spacing),) * 2) + 0.5) * spacing - 120
    return (i / 70) ** 2 + (j / 90) ** 2 <= 1


@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_masks_cover_as_much_as_the_published_ones(spacing: float) -> None:
    # Measured there: two of three kinds cover 0.24 of the brain on average (0.03 to 0.55), the third 0.041 (at most
    # 0.08); that their squares could leave the brain makes ours a little larger.
    brain = ellipse(spacing)
    masks = [sample_slice_mask(brain, spacing, np.random.default_rng(seed)) for seed in range(150)]
    assert not any((mask & ~brain).any() for mask in masks)
    shares = np.array([mask.sum() / brain.sum() for mask in masks])
    assert shares.min() > 0 and shares.max() < 0.65
    assert shares.mean() == pytest.approx((2 * 0.24 + 0.041) / 3, rel=0.25)


def test_a_brain_of_one_pixel_is_masked_too() -> None:
    brain = np.zeros((8, 8), dtype=bool)
    brain[7, 7] = True
    np.testing.assert_array_equal(sample_slice_mask(brain, 2.0, np.random.default_rng(0)), brain)


CARD = ModelCard(
    "toy",
    "Toy",
    "itermask2",
    ("T1w",),
    CardGrid(4.0, (48, 48)),
    {name: NetworkEntry("model.safetensors", f"{name}.", {"width": 2, "dropout": 0.1}) for name in CHANNELS},
    intensity="p90",
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"networks": {}}, "must hold first_iteration and masked_autoencoder and nothing else"),
        ({"inputs": ("T1w", "T2w")}, "takes one input, not 2"),
        ({"grid": CardGrid(4.0, (48, 48, 48))}, "2D grid whose sides are multiples of 16"),
        ({"networks": {**CARD.networks, FIRST: NetworkEntry("a", config={"width": 0})}}, "width is 0"),
    ],
)
def test_a_card_that_makes_no_networks_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        networks_of(replace(CARD, **change))


def convert(folder: Path, *checkpoints: Path, **options: Any) -> ModelCard:
    """As the command line does it."""
    return find_method("itermask2").load().convert(list(checkpoints), folder, {"inputs": ("T2w",), **options})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return ITERMASK2.checkpoints(tmp_path_factory.mktemp("checkpoints"))


def test_a_converted_model_has_the_published_grid_and_no_threshold(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    card = convert(tmp_path / "model", *checkpoints.values())
    assert card.intensity == "p90" and card.grid.shape == (128, 128) and card.grid.spacings == (1.875, 1.875, 1.0)
    assert find_method("itermask2").settings(card).threshold is None


def test_what_makes_no_model_is_refused_and_writes_none(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    first, masked = checkpoints[FIRST], checkpoints[MASKED]
    state = dict(fill_published(network(MASKED, width=4)).state_dict())
    grouped = {key: tensor for key, tensor in state.items() if not key.endswith("running_mean")}
    torch.save(grouped, tmp_path / "other.pt")
    torch.save({"conv_1.conv.unit0.conv.weight": torch.zeros(2, 2, 3, 3, 3)}, tmp_path / "volumes.pt")
    torch.save({"input_blocks.0.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "three.pt")
    cases: list[tuple[tuple[Path, ...], dict[str, Any], str]] = [
        ((first,), {}, "2 checkpoints are needed, first_iteration and masked_autoencoder; 1 given"),
        ((first, first), {}, "is a second first_iteration"),
        ((first, tmp_path / "other.pt"), {}, "running_mean is missing"),
        ((first, tmp_path / "volumes.pt"), {}, "no checkpoint of IterMask2: input_blocks.0.0.weight is missing"),
        ((first, tmp_path / "three.pt"), {}, r"no checkpoint of IterMask2: .* has the shape \[4, 3, 3, 3\]"),
        ((first, masked), {"shape": (128, 128, 128)}, "two sides"),
        ((first, masked), {"shape": (100, 128)}, "multiples of 16"),
        ((first, masked), {"inputs": ("T1w", "T2w")}, "takes one input, not 2"),
    ]
    for paths, options, words in cases:
        with pytest.raises(UserError, match=words):
            convert(tmp_path / "model", *paths, **options)
    assert not (tmp_path / "model").exists()


def test_intensities_are_scaled_as_published_where_the_background_is_zero() -> None:
    rng = np.random.default_rng(0)
    brain = rng.random((20, 24, 22)) < 0.3
    volume = np.where(brain, rng.gamma(4, 50, brain.shape), 0)
    scaled, scale = p90(volume, brain)
    # The published formula, with percentiles of the whole volume: the 90th of the brain, and 0.
    count = (volume > 0).sum()
    high = np.percentile(volume, 100 * (1 - 0.1 * count / volume.size))
    low = np.percentile(volume, 100 * 0.02 * count / volume.size)
    wanted = 6 * (volume - (high - low) / 2) / (high - low)
    np.testing.assert_allclose(scaled, wanted, rtol=2e-3, atol=5e-3)
    assert (scaled[~brain] == -3).all() and (scaled[brain] > 3).mean() == pytest.approx(0.1, abs=0.01)
    np.testing.assert_allclose(scale.back(scaled)[brain], volume[brain], rtol=1e-5)
    with pytest.raises(UserError, match="is not above 0"):
        p90(-volume, brain)
