"""Training examples and batches: what is hidden, in which order, and from which random numbers."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.base import Healthy
from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.methods.itermask3d.settings import TrainingSettings
from IterMask3DLib.methods.itermask3d.training import ReconstructionTask
from IterMask3DLib.preprocessing.intensity import zscore_clip3
from IterMask3DLib.training.examples import Batches, StageExamples, explaining_killed_workers, on_device, stacked
from IterMask3DLib.training.loop import learning_rate
from IterMask3DLib.training.options import training_options
from Testing.training.toys import smallest_card

STAGE = "reconstruction"
SPACING = (8.0, 8.0, 8.0)


@dataclass
class Brains(Sequence[Healthy]):
    """Five small noisy balls; `visited` notes the numbers asked for."""

    visited: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return 5

    def __getitem__(self, number: Any) -> Healthy:
        self.visited.append(number)
        brain = np.square(np.indices((16, 16, 16)) - 7.5).sum(axis=0) < 45
        volume = zscore_clip3(np.random.default_rng(number).normal(size=(16, 16, 16)), brain)[0]
        return Healthy(volume[None], brain, SPACING)


def task(**settings: Any) -> ReconstructionTask:
    return ReconstructionTask(smallest_card(), TrainingSettings(**settings))


def examples(brains: Brains | None = None, seed: int = 5, **settings: Any) -> StageExamples:
    options = training_options("itermask3d", {"spacing": 8.0, "batch": 2, "seed": seed}, "test")
    return StageExamples(task(**settings), 0, brains or Brains(), options)


def example(seed: int, kind: str | None = None, **settings: Any) -> dict[str, NDArray[Any]]:
    return dict(task(**settings).example(STAGE, Brains()[0], np.random.default_rng(seed), kind))


def of_step(made: StageExamples, step: int, places: Sequence[int] = (0, 1)) -> list[dict[str, NDArray[Any]]]:
    return [dict(made[step, place]) for place in places]


def test_an_example_hides_only_the_mask_and_shows_the_high_frequencies_of_the_whole_volume() -> None:
    item = example(1, "blob")
    mask, volume, (given, details) = item["mask"][0], item["target"][0], item["given"]
    np.testing.assert_array_equal(given[~mask], volume[~mask])
    assert (given[mask] != volume[mask]).mean() > 0.99
    np.testing.assert_array_equal(details, high_frequency(volume, SPACING))


def test_the_noise_behind_a_mask_is_standard_normal() -> None:
    items = [example(seed, "whole_brain") for seed in range(30)]
    noise = np.concatenate([item["given"][0][item["mask"][0]] for item in items])
    assert noise.mean() == pytest.approx(0, abs=0.03) and noise.std() == pytest.approx(1, abs=0.03)


def test_every_epoch_visits_each_volume_once_in_another_order_and_under_another_mask() -> None:
    brains = Brains()
    made = examples(brains, loss_region="mask")
    drawn = [item for step in range(10) for item in of_step(made, step)]
    epochs = [brains.visited[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs) and len({tuple(epoch) for epoch in epochs}) > 1
    masks = {item["region"].tobytes() for number, item in zip(brains.visited, drawn, strict=True) if number == 3}
    assert len(masks) == 4


def test_an_example_does_not_depend_on_who_draws_it() -> None:
    whole = of_step(examples(), 7)
    parts = [of_step(examples(), 7, [place])[0] for place in (0, 1)]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one["given"], other["given"])
    assert not np.array_equal(whole[0]["given"], of_step(examples(seed=6), 7)[0]["given"])


def test_each_stage_draws_numbers_of_its_own() -> None:
    first = examples()
    twice = task()
    twice.stages = (*twice.stages, *twice.stages)
    second = StageExamples(twice, 1, Brains(), first.options)
    assert not np.array_equal(first[0, 0]["given"], second[0, 0]["given"])
    assert not np.array_equal(first.fixed(2, "blob")["given"], second.fixed(2, "blob")["given"])


def test_validation_sees_the_same_masks_at_every_call() -> None:
    first, second = (examples().fixed(2, "blob") for _ in range(2))
    np.testing.assert_array_equal(first["given"], second["given"])


def test_the_batches_come_in_the_order_of_the_steps_whatever_the_number_of_processes() -> None:
    runs = []
    for workers in (0, 1, 3):
        batches = Batches(examples(), range(2), 3, 9, workers)
        runs.append([batch["given"] for batch in batches])
        assert batches.waited > 0
    for number, step in enumerate(range(3, 9)):
        wanted = np.stack([item["given"] for item in of_step(examples(), step)])
        assert wanted.shape == (2, 2, 16, 16, 16)
        for run in runs:
            # The transform behind the high frequencies may round otherwise with another number of threads.
            torch.testing.assert_close(run[number], torch.from_numpy(wanted), rtol=0, atol=1e-5)
    assert torch.equal(torch.stack(runs[1]), torch.stack(runs[2])) and not multiprocessing.active_children()


def test_the_random_numbers_of_the_training_are_not_touched_by_the_batches() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    list(Batches(examples(), range(2), 0, 2, 1))
    assert torch.equal(torch.rand(3), wanted)


class Unreadable(Brains):
    def __getitem__(self, number: Any) -> Healthy:
        raise UserError("the cache is gone")


class Deadly(Brains):
    def __getitem__(self, number: Any) -> Healthy:
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(number)


@pytest.mark.parametrize(
    ("brains", "sentence"),
    [(Unreadable(), r"^the cache is gone$"), (Deadly(), r"^A process .* was killed.*--workers\.$")],
)
def test_what_goes_wrong_in_a_process_reaches_the_loop_in_one_sentence(brains: Brains, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence), explaining_killed_workers():
        list(Batches(examples(brains), range(2), 0, 4, 1))


def test_batches_that_the_shared_memory_has_no_room_for_are_made_in_the_training_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = examples()
    size = 2 * sum(array.nbytes for array in made[0, 0].values())
    for batches, wanted in ((0, 0), (2, 0), (3, 1), (6, 2), (100, 4)):
        free = (0, 0, batches * size)
        monkeypatch.setattr(
            "IterMask3DLib.training.examples.disk_usage", lambda path, free=free: type("Disk", (), {"free": free[2]})
        )
        assert Batches(made, range(2), 0, 2, 4).workers == wanted


@pytest.mark.parametrize("region", ["volume", "brain", "mask"])
def test_the_loss_counts_where_the_settings_say_and_each_volume_alike(region: str) -> None:
    made = examples(loss_region=region)
    items = of_step(made, 0)
    output = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 1, 16, 16, 16)).astype(np.float32))
    # The same draws where the mask is the region tell what was hidden.
    masks = [item["region"][0] for item in of_step(examples(loss_region="mask"), 0)]
    brains = [item["region"][0] for item in of_step(examples(loss_region="brain"), 0)]
    wanted = []
    for number, item in enumerate(items):
        where = {"volume": np.ones((16,) * 3, dtype=bool), "brain": brains[number], "mask": masks[number]}[region]
        wanted.append(np.square(output[number, 0].numpy() - item["target"][0])[where].mean())
    loss = task().loss(STAGE, {STAGE: lambda given: output}, stacked(items))
    assert float(loss) == pytest.approx(np.mean(wanted), rel=1e-5)


def test_a_batch_goes_to_the_device_with_its_channels_last() -> None:
    moved = on_device(stacked(of_step(examples(loss_region="mask"), 0)), torch.device("cpu"))
    assert moved["given"].is_contiguous(memory_format=torch.channels_last_3d) and moved["region"].dtype == torch.bool


def test_learning_rates_follow_the_schedules() -> None:
    paper = training_options("itermask3d", {"preset": "published"}, "test")
    rates = [learning_rate(step, 500, paper) for step in range(500)]
    assert rates == [1e-3] * 300 + [1e-4] * 200
    cosine = training_options("itermask3d", {"learning_rate": 1e-3, "final_learning_rate": 1e-5}, "test")
    assert learning_rate(0, 6000, cosine) == pytest.approx(1e-5)
    assert learning_rate(3000, 6000, cosine) == pytest.approx((1e-3 + 1e-5) / 2)
    assert learning_rate(5999, 6000, cosine) == pytest.approx(1e-5, rel=1e-2)
    constant = training_options("itermask3d", {"schedule": "constant"}, "test")
    assert {learning_rate(step, 500, constant) for step in range(500)} == {1e-3}
    # Without a warm-up the cosine begins at its height.
    encoder = training_options("autoencoder", {}, "test")
    assert learning_rate(0, 2400, encoder) == 2e-3 and learning_rate(1200, 2400, encoder) == pytest.approx(1e-3)
