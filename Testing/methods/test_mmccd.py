"""MMCCD gives the published numbers, whatever runs together, and its steps say how much there is to come."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.core.card import CardGrid, ModelCard, NetworkEntry
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import CaseResult, Result, Step
from IterMask3DLib.methods.mmccd.bands import Band, bands_of, in_rounds
from IterMask3DLib.methods.mmccd.cycle import BACK, CycleErrors, DiffusionCycle, Look, Pass, PlainCycle
from IterMask3DLib.methods.mmccd.diffusion import Schedule, ddim_step, ddpm_step
from IterMask3DLib.methods.mmccd.method import eroded, looks_of
from IterMask3DLib.methods.mmccd.network import (
    BACKWARD,
    CHANNELS,
    DIFFUSION,
    FORWARD,
    DenoisingNetwork,
    denoising_input,
    untrained,
)
from IterMask3DLib.methods.mmccd.settings import MMCCDSettings
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.methods.slice_unet import SliceUNet
from IterMask3DLib.models.store import WEIGHTS, Model
from IterMask3DLib.preprocessing.prepare import prepare
from IterMask3DLib.run import CaseRun, finish
from IterMask3DLib.runtime.noise import seeded_noise
from Testing.brains import phantom
from Testing.methods.published import GOLDEN, fill_published, published_slices

NUMBERS: dict[str, Any] = json.loads((GOLDEN / "mmccd.json").read_text(encoding="utf-8"))
WHOLE = "ITERMASK3D_WHOLE_CYCLE"


def noise_of(batch: int, side: int = 128) -> torch.Tensor:
    """What stands for every noise of the recipe: float32 [batch, 1, side, side]."""
    b, _, i, j = np.indices((batch, 1, side, side))
    return torch.from_numpy((1.2 * np.sin(12.9898 * i + 78.233 * j + 3.7 * b)).astype(np.float32))


def figures(output: torch.Tensor, *points: tuple[int, int]) -> dict[str, float]:
    whole = {"mean": output.mean(), "std": output.std(correction=1), "min": output.min(), "max": output.max()}
    found = whole | {str([0, 0, *point]): output.reshape(-1, *output.shape[-2:])[(0, *point)] for point in points}
    return {key: float(value) for key, value in found.items()}


@pytest.fixture(scope="module")
def networks() -> dict[int, SliceUNet]:
    """The recipe's networks, by their input channels; not to be given to a runner, which changes how they add up."""
    return {channels: fill_published(SliceUNet(channels)) for channels in (1, 2)}


# Schedule and samplers


def test_the_schedule_has_the_published_numbers() -> None:
    every, some = Schedule.of(1000), Schedule.of(100)
    wanted = NUMBERS["alphas_cumprod_1000[0,10,100,500,990,999]"]
    assert every.kept[[0, 10, 100, 500, 990, 999]] == pytest.approx(wanted, rel=1e-9)
    spaced = NUMBERS["spaced100"]
    assert [*some.times[:3], *some.times[-3:]] == spaced["map_first3_last3"] and len(some.times) == spaced["n"]
    assert some.betas[[0, 1, 50, 99]] == pytest.approx(spaced["betas[0,1,50,99]"], rel=1e-9)
    assert some.kept[[0, 1, 50, 99]] == pytest.approx(spaced["acp[0,1,50,99]"], rel=1e-9)
    assert Schedule.of(10).times == tuple(NUMBERS["spaced10_map"])
    for count in (50, 250, 1000):
        times = Schedule.of(count).times
        assert [len(times), times[-1]] == NUMBERS[f"respacing_{count}"]
    # Where the published code takes whole strides it begins at their last; any other number of steps is possible here.
    assert Schedule.of(334).times[-1] == 999 and len(Schedule.of(300).times) == 300


def test_a_step_of_each_sampler_has_the_published_numbers(networks: dict[int, SliceUNet]) -> None:
    noise, schedule = noise_of(1), Schedule.of(10)
    condition = published_slices(128, 1, batch=1)
    condition[..., 40:56] = noise[..., 40:56]
    with torch.inference_mode():
        clean = DenoisingNetwork(networks[2])(denoising_input(noise, condition, schedule.times[9]))
    point = (64, 47)
    assert figures(clean, (0, 0), point) == pytest.approx(NUMBERS["ddim_step_t9"]["x0"], abs=2e-5)
    sample = ddim_step(schedule, 9, noise, clean)
    assert figures(sample, (0, 0), point) == pytest.approx(NUMBERS["ddim_step_t9"]["sample"], abs=2e-6)
    sample = ddpm_step(schedule, 9, noise, clean, noise)
    assert figures(sample, (0, 0), point) == pytest.approx(NUMBERS["ddpm_step_t9"]["sample"], abs=2e-6)


def test_a_sampler_whose_network_knows_the_image_ends_with_it() -> None:
    schedule, clean = Schedule.of(7), torch.randn(1, 1, 4, 4)
    for step in (ddim_step, lambda *given: ddpm_step(*given, torch.randn(1, 1, 4, 4))):
        values = torch.randn(1, 1, 4, 4)
        for index in reversed(range(7)):
            values = step(schedule, index, values, clean)
        torch.testing.assert_close(values, clean)


# Bands


def test_the_published_bands_hide_the_corner_twice_and_the_middle_sixteen_times() -> None:
    bands = bands_of((128, 128), 16, 2)
    cover = np.zeros((128, 128), dtype=int)
    for band in bands:
        cover[band.place] += 1
    wanted = NUMBERS["cycle_T2_128masks"]
    assert len(bands) == wanted["mask_shape"][0]
    assert (cover.min(), cover.max(), cover[0, 0], cover[64, 64], cover[-1, -1]) == (
        *(wanted["cover_min"], wanted["cover_max"]),
        *(wanted["cover[0,0]"], wanted["cover[64,64]"], wanted["cover[127,127]"]),
    )


@pytest.mark.parametrize(("width", "step"), [(16, 2), (15, 4), (5, 5), (3, 7)])
def test_no_bands_of_a_round_overlap_and_each_comes_once(width: int, step: int) -> None:
    bands = bands_of((48, 80), width, step)
    rounds = in_rounds(bands, width, step)
    assert sorted(map(repr, bands)) == sorted(repr(band) for each in rounds for band in each)
    for each in rounds:
        cover = np.zeros((48, 80), dtype=int)
        for band in each:
            cover[band.place] += 1
        assert cover.max() == 1
    # The second round of an axis begins half a band after the first.
    assert [each[0].start for each in in_rounds(bands_of((48, 80), 16, 2), 16, 2)[::2]] == [0, 8, 4, 12, 2, 10, 6, 14]


# The whole way there and back


@torch.inference_mode()
def ended(run: Iterator[Pass]) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    *steps, (last, passed) = run
    assert last == BACK and passed is not None and all(each is None for _, each in steps)
    return [phase for phase, _ in steps], *passed


def published_image() -> NDArray[np.float32]:
    """The recipe's slice with a background: float32 [1, 128, 128]."""
    i, j = np.indices((128, 128))
    inside = ((i - 63.5) / 50) ** 2 + ((j - 63.5) / 42) ** 2 <= 1
    return np.where(inside, published_slices(128, 1, batch=1)[0].numpy(), np.float32(-3))


def test_the_masked_cycle_has_the_published_numbers(networks: dict[int, SliceUNet]) -> None:
    """The corner, which two bands hide; with the variable `WHOLE` names, all of it (128 bands, minutes)."""
    cycle = DiffusionCycle(
        DenoisingNetwork(networks[2]),
        networks[1],
        Schedule.of(2),
        lambda number, voxels: noise_of(1).numpy().reshape(-1),
    )
    bands, image, wanted = bands_of((128, 128), 16, 2), published_image(), NUMBERS["cycle_T2_128masks"]
    points = ((0, 0), (64, 64), (20, 90)) if os.environ.get(WHOLE) else ((0, 0),)
    hiding = [band for band in bands if os.environ.get(WHOLE) or any(_hides(band, point) for point in points)]
    found = CycleErrors(image, None)
    for band in hiding:
        phases, there, back = ended(cycle.run(image, [Look(0, band, bands.index(band))]))
        assert len(phases) + 1 == cycle.passes == 3
        found.add(Look(0, band), there[0, 0].numpy(), back[0, 0].numpy())
    errors = torch.from_numpy(found.errors())
    for point in points:
        assert float(errors[(0, *point)]) == pytest.approx(wanted["err"][str([0, 0, *point])], abs=1e-4)
        assert found.looks[(0, *point)] == wanted["cover_min" if point == (0, 0) else "cover_max"]
    if os.environ.get(WHOLE):
        assert figures(errors, *points) == pytest.approx(wanted["err"], abs=1e-3)
        assert figures(there, (64, 64)) == pytest.approx(wanted["last_forward"], abs=1e-4)


def _hides(band: Band, point: tuple[int, int]) -> bool:
    return band.start <= point[band.axis] < band.stop


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_noise_hides_anew_in_each_step_and_begins_alike_behind_every_band(sampler: str) -> None:
    given, seen = np.random.default_rng(0).normal(size=(2, 32, 48)).astype(np.float32), []

    def network(values: torch.Tensor) -> torch.Tensor:
        seen.append(values.clone())
        return torch.zeros_like(values[:, :1])

    bands = Band(1, 0, 16), Band(0, 8, 24)
    looks = [Look(0, bands[0], 0), Look(0, bands[1], 5), Look(1, bands[0], 0)]
    ended(DiffusionCycle(network, lambda there: there, Schedule.of(3), seeded_noise(1), sampler).run(given, looks))
    assert [sorted(set(each[:, 2].ravel().tolist())) for each in seen] == [[668.0], [334.0], [0.0]]
    first = seen[0][:, 0]
    assert torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])
    for place, look in enumerate(looks):
        hidden = torch.zeros((32, 48), dtype=torch.bool)
        hidden[look.band.place] = True
        behind = [each[place, 1] for each in seen]
        assert all(torch.equal(each[~hidden], torch.from_numpy(given[look.slice])[~hidden]) for each in behind)
        noises = [*(each[hidden] for each in behind), first[place][hidden]]
        if sampler == "ddpm":
            # With a prediction of 0 an image is what is left of the one before, and new noise.
            before, after = (each[place, 0][hidden] for each in seen[:2])
            noises.append(after - before * (before @ after) / (before @ before))
        assert np.abs(np.corrcoef(torch.stack(noises).numpy()) - np.eye(len(noises))).max() < 0.2


def test_the_cyclic_unet_has_the_published_numbers(networks: dict[int, SliceUNet]) -> None:
    phases, _, back = ended(PlainCycle(networks[1], networks[1]).run(published_image(), [Look(0)]))
    assert len(phases) == 1
    assert figures(back, (64, 64), (20, 90)) == pytest.approx(NUMBERS["cyclic_unet"], abs=2e-5)


def test_errors_are_means_over_the_looks_that_hid_a_pixel_and_of_both_channels_where_there_are_two() -> None:
    given, target = np.ones((1, 2, 3), np.float32), np.full((1, 2, 3), 4, np.float32)
    for other, wanted in ((None, [[4, 2.5, 0], [4, 2.5, 0]]), (target, [[6.5, 5.75, 0], [6.5, 5.75, 0]])):
        found = CycleErrors(given, other)
        # There 1 off by 3, back off by 2 and then by 1.
        found.add(Look(0, Band(1, 0, 2)), np.full((2, 3), 1, np.float32), np.full((2, 3), 3, np.float32))
        found.add(Look(0, Band(1, 1, 2)), np.full((2, 3), 1, np.float32), np.full((2, 3), 2, np.float32))
        np.testing.assert_allclose(found.errors()[0], wanted)
        np.testing.assert_allclose(found.images()[0], [[3, 2.5, 1], [3, 2.5, 1]])


# Runs


def toy_card(*inputs: str, parts: tuple[str, ...] = (FORWARD, BACKWARD, DIFFUSION)) -> ModelCard:
    networks = {part: NetworkEntry(WEIGHTS, config={"width": 4}) for part in parts}
    return ModelCard("toy", "Toy", "mmccd", inputs or ("FLAIR",), CardGrid(8.0, (32, 32)), networks, "p90")


def toy_model(*inputs: str, **more: Any) -> Model:
    """Tiny networks with random weights: a fresh one gives nothing but zeros."""
    torch.manual_seed(1)
    card, networks = toy_card(*inputs, **more), {}
    for part in card.networks:
        networks[part] = untrained(part, 4, 0.1).eval()
        for parameter in networks[part].parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return Model(Path(), card, networks, {})


def brain(name: str = "a", factor: float = 1.0) -> Image:
    array, affine = phantom((20, 24, 6), 8.0)
    return Image((array * factor).astype(np.float32), affine, name)


QUICK = {"denoising_steps": 2, "band_step_mm": 30.0, "batch": 16}


def run(model: Model, images: dict[str, Image], **settings: Any) -> tuple[CaseResult, list[Step], CaseRun]:
    request = Request(device="cpu", backend="pytorch", settings={**QUICK, **settings})
    made, steps = CaseRun.of(Case("a", images), model, request), []

    def keep(event: object) -> None:
        if isinstance(event, Step):
            steps.append(event)

    return finish(made.infer(), keep), steps, made


def last_of(steps: list[Step]) -> Result:
    """What a run found, on the model grid."""
    stop = steps[-1].stop
    assert stop is not None
    return stop()


def test_a_run_has_a_step_a_pass_and_knows_from_the_first_how_many_there_are() -> None:
    result, steps, made = run(toy_model(), {"FLAIR": brain()})
    rounds = looks_of(made.prepared, made.settings)
    looks = sum(map(len, rounds))
    assert len(steps) == steps[0].expected_total == -(-looks // 16) * 3
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert {step.expected_total for step in steps} == {len(steps)}
    assert [step.phase for step in steps[:3]] == ["denoise", "denoise", BACK]
    # There is a result once every pixel was hidden.
    first = next(place for place, step in enumerate(steps) if step.stop)
    assert first + 1 == -(-len(rounds[0]) // 16) * 3
    assert all(step.stop for step in steps[first:])
    early = steps[first].stop
    assert early is not None and early().layers["heatmap"].read().any()
    heatmap = result.array("heatmap")
    assert heatmap is not None and heatmap.max() > 0 and "anomaly" not in result.layers
    assert len(result.slice_scores or ()) == made.prepared.brain.shape[2]


def test_a_result_does_not_depend_on_what_runs_together_but_on_the_seed() -> None:
    model, images = toy_model(), {"FLAIR": brain()}
    maps = [run(model, images, batch=batch)[0].array("heatmap") for batch in (5, 1000)]
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-3, atol=1e-4)
    request = Request(device="cpu", backend="pytorch", seed=5, settings=QUICK)
    other = finish(CaseRun.of(Case("a", images), model, request).infer()).array("heatmap")
    assert other is not None and np.abs(other - maps[0]).max() > 1e-3


def test_only_bands_that_touch_the_brain_are_looked_through_and_that_changes_nothing() -> None:
    model = toy_model()
    prepared = prepare(Case.of(brain()), model.card)
    settings = MMCCDSettings(band_mm=16.0, band_step_mm=8.0)
    looks = [look for each in looks_of(prepared, settings) for look in each]
    every = bands_of((32, 32), 2, 1)
    assert len(looks) < 0.8 * len(every) * prepared.brain.shape[2]
    cover = np.zeros(prepared.brain.shape)
    for look in looks:
        assert look.band == every[look.number]
        cover[(*look.band.place, look.slice)] += 1
    whole = sum(_cover(band, (32, 32)) for band in every)
    assert (cover == whole[..., None])[prepared.brain].all()


def _cover(band: Band, shape: tuple[int, int]) -> NDArray[np.int64]:
    cover = np.zeros(shape, dtype=np.int64)
    cover[band.place] = 1
    return cover


def test_the_rim_does_not_count_and_a_threshold_makes_a_mask() -> None:
    result, steps, made = run(toy_model(), {"FLAIR": brain()}, translation="unet", threshold=0.5, erosion_mm=16.0)
    assert len(steps) == 2 * -(-made.prepared.brain.any(axis=(0, 1)).sum() // 16)
    errors, mask = (last_of(steps).layers[name].read() for name in ("heatmap", "anomaly"))
    inner = eroded(made.prepared.brain, 2.0)
    assert (errors[~inner] == 0).all() and 0 < inner.sum() < made.prepared.brain.sum()
    np.testing.assert_array_equal(mask, errors > 0.5)
    assert result.case_score == pytest.approx(errors[inner].mean(), rel=1e-5)
    assert result.slice_scores is not None
    middle = inner.shape[2] // 2
    assert result.slice_scores[middle] == pytest.approx(errors[..., middle][inner[..., middle]].mean(), rel=1e-5)
    thin = brain()
    thin.array[8:] = 0
    with pytest.raises(UserError, match="No brain is left 32 mm from its rim; lower --erosion-mm"):
        run(toy_model(), {"FLAIR": thin}, erosion_mm=32.0)


def test_the_rim_is_what_a_disc_reaches_from_outside() -> None:
    square = np.zeros((21, 21, 1), dtype=bool)
    square[3:18, 3:18] = True
    distance = ndimage.distance_transform_edt(square[..., 0])
    np.testing.assert_array_equal(eroded(square, 4.0)[..., 0], distance > 4.0)
    np.testing.assert_array_equal(eroded(square, 0.0), square)


def test_with_both_channels_the_translated_one_counts_too() -> None:
    model, images = toy_model("FLAIR", "T2w"), {"FLAIR": brain(), "T2w": brain("b", 0.5)}
    both = last_of(run(model, images, translation="unet")[1]).layers["heatmap"].read()
    alone, _, made = run(toy_model(), {"FLAIR": brain()}, translation="unet")
    assert alone.case_score is not None
    given, target = made.prepared.channels[0], prepare(Case("a", images), model.card).channels[1]
    with torch.inference_mode():
        there = model.networks[FORWARD](torch.from_numpy(np.moveaxis(given, -1, 0))[:, None])
        back = model.networks[BACKWARD](there)
    errors = [np.moveaxis(each[:, 0].numpy(), 0, -1) - wanted for each, wanted in ((back, given), (there, target))]
    inner = eroded(made.prepared.brain, 7.5 / 8)
    wanted = np.where(inner, sum(np.square(error) for error in errors) / 2, 0)
    np.testing.assert_allclose(both, wanted, rtol=1e-3, atol=1e-4)


# Bad input


def test_a_network_that_a_model_has_not_is_told() -> None:
    model = toy_model(parts=(BACKWARD, DIFFUSION))
    with pytest.raises(UserError, match="Model toy has no network translator; use --translation diffusion"):
        run(model, {"FLAIR": brain()}, translation="unet")


def test_cards_that_make_no_networks_are_refused() -> None:
    build = find_method("mmccd").load().build
    with pytest.raises(UserError, match="needs the network back_translator and one of translator and diffusion"):
        build(toy_card(parts=(BACKWARD,)))
    with pytest.raises(UserError, match=r"networks\.more is none of MMCCD's"):
        build(toy_card(parts=(*CHANNELS, "more")))
    with pytest.raises(UserError, match="one channel or two on slices whose sides are multiples of 16"):
        build(replace(toy_card(), grid=CardGrid(8.0, (32, 32, 32))))
    with pytest.raises(UserError, match="width is 3; it must be even"):
        entries = {part: NetworkEntry(WEIGHTS, config={"width": 3}) for part in CHANNELS}
        build(replace(toy_card(), networks=entries))


def test_channels_that_are_missing_or_lie_elsewhere_are_told() -> None:
    model = toy_model("FLAIR", "T2w")
    with pytest.raises(UserError, match=r"a: model toy needs the input T2w \(FLAIR was given\); add --input T2w=FILE"):
        run(model, {"FLAIR": brain()})
    away = brain("b")
    away.affine[0, 3] += 500
    with pytest.raises(UserError, match="b and a do not lie in the same place; are they of one patient"):
        run(model, {"FLAIR": brain(), "T2w": away})
