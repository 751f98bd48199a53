"""Training examples and batches: what is hidden, in which order, and from which random numbers."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.preprocessing.intensity import zscore_clip3
from IterMask3DLib.training.data import example, examples_of_step, fixed_example
from IterMask3DLib.training.feed import Batch, Feed, batch_of
from IterMask3DLib.training.loop import learning_rate, loss_of
from IterMask3DLib.training.masks import MaskPlan
from IterMask3DLib.training.recipe import Recipe, published

RECIPE = Recipe(spacing=8.0, batch=2, seed=5)


class Brains:
    """Five small noisy balls; `visited` notes the numbers asked for."""

    def __init__(self) -> None:
        self.visited: list[int] = []

    def __len__(self) -> int:
        return 5

    def __getitem__(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        self.visited.append(number)
        brain = np.square(np.indices((16, 16, 16)) - 7.5).sum(axis=0) < 45
        return zscore_clip3(np.random.default_rng(number).normal(size=(16, 16, 16)), brain).array, brain


def test_an_example_hides_only_the_mask_and_shows_the_high_frequencies_of_the_whole_volume() -> None:
    item = example(*Brains()[0], 8.0, np.random.default_rng(1), MaskPlan())
    noise = item.given[0][item.mask]
    np.testing.assert_array_equal(item.given[0][~item.mask], item.volume[~item.mask])
    assert (noise != item.volume[item.mask]).mean() > 0.99
    np.testing.assert_array_equal(item.given[1], high_frequency(item.volume, (8.0, 8.0, 8.0)))


def test_the_noise_behind_a_mask_is_standard_normal() -> None:
    items = [example(*Brains()[0], 8.0, np.random.default_rng(seed), MaskPlan(full_brain=1)) for seed in range(30)]
    noise = np.concatenate([item.given[0][item.mask] for item in items])
    assert noise.mean() == pytest.approx(0, abs=0.03) and noise.std() == pytest.approx(1, abs=0.03)


def test_every_epoch_visits_each_volume_once_in_another_order_and_under_another_mask() -> None:
    brains = Brains()
    drawn = [item for step in range(10) for item in examples_of_step(step, range(2), brains, RECIPE)]
    epochs = [brains.visited[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs) and len({tuple(epoch) for epoch in epochs}) > 1
    masks = {item.mask.tobytes() for number, item in zip(brains.visited, drawn, strict=True) if number == 3}
    assert len(masks) == 4


def test_an_example_does_not_depend_on_who_draws_it() -> None:
    whole = examples_of_step(7, range(2), Brains(), RECIPE)
    parts = [examples_of_step(7, [place], Brains(), RECIPE)[0] for place in (0, 1)]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one.given, other.given)
    assert not np.array_equal(whole[0].given, examples_of_step(7, range(2), Brains(), Recipe(spacing=8.0, batch=2, seed=6))[0].given)


def test_validation_sees_the_same_masks_at_every_call() -> None:
    first, second = (fixed_example(2, Brains(), RECIPE, MaskPlan()) for _ in range(2))
    np.testing.assert_array_equal(first.given, second.given)


def test_the_feed_gives_the_steps_in_order_whatever_the_number_of_threads() -> None:
    before = threading.active_count()
    runs = []
    for workers in (1, 3):
        with Feed(Brains(), RECIPE, range(2), 3, 9, workers) as feed:
            runs.append([(step, batch.given) for step, batch in feed])
        assert feed.waited > 0
    assert [step for step, _ in runs[0]] == [3, 4, 5, 6, 7, 8]
    for (_, one), (_, other) in zip(*runs, strict=True):
        assert one.shape == (2, 2, 16, 16, 16) and torch.equal(one, other)
    assert threading.active_count() == before


def test_an_error_in_a_thread_reaches_the_loop() -> None:
    class Broken(Brains):
        def __getitem__(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
            raise OSError("the cache is gone")

    with pytest.raises(OSError, match="gone"), Feed(Broken(), RECIPE, range(2), 0, 4, 1) as feed:
        list(feed)


@pytest.mark.parametrize("region", ["volume", "brain", "mask"])
def test_the_loss_counts_where_the_recipe_says_and_each_volume_alike(region: str) -> None:
    items = examples_of_step(0, range(2), Brains(), RECIPE)
    output = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 1, 16, 16, 16)).astype(np.float32))
    wanted = []
    for number, item in enumerate(items):
        where = {"volume": np.ones_like(item.brain), "brain": item.brain, "mask": item.mask}[region]
        wanted.append(np.square(output[number, 0].numpy() - item.volume)[where].mean())
    assert float(loss_of(output, batch_of(items, region))) == pytest.approx(np.mean(wanted), rel=1e-5)


def test_a_batch_goes_to_the_device_with_its_channels_last() -> None:
    moved = batch_of(examples_of_step(0, range(2), Brains(), RECIPE), "mask").to(torch.device("cpu"))
    assert isinstance(moved, Batch) and moved.given.is_contiguous(memory_format=torch.channels_last_3d)


def test_learning_rates_follow_the_schedules() -> None:
    paper = published()
    rates = [learning_rate(step, 500, paper) for step in range(500)]
    assert rates == [1e-3] * 300 + [1e-4] * 200
    cosine = Recipe(learning_rate=1e-3, final_learning_rate=1e-5)
    assert learning_rate(0, 6000, cosine) == pytest.approx(1e-5)
    assert learning_rate(3000, 6000, cosine) == pytest.approx((1e-3 + 1e-5) / 2)
    assert learning_rate(5999, 6000, cosine) == pytest.approx(1e-5, rel=1e-2)
