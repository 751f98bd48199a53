"""The 2D U-Net is the one that MMCCD publishes; with batch norm it is that of IterMask2."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from IterMask3DLib.methods.slice_unet import SliceUNet, time_embedding
from Testing.methods.published import GOLDEN, fill_published, published_slices

NUMBERS: dict[str, Any] = json.loads((GOLDEN / "mmccd.json").read_text(encoding="utf-8"))
POINTS = ((0, 0, 0, 0), (0, 0, 20, 31), (1, 0, 40, 7), (1, 0, 63, 63))


def figures(output: torch.Tensor) -> dict[str, float]:
    """The numbers that the recipe tells of an output."""
    whole = {"mean": output.mean(), "std": output.std(correction=1), "min": output.min(), "max": output.max()}
    return {key: float(value) for key, value in (whole | {str(list(p)): output[p] for p in POINTS}).items()}


def test_the_state_dict_has_the_published_names_shapes_types_and_order() -> None:
    rows = [line.split("\t") for line in (GOLDEN / "keys_mmccd_cond.tsv").read_text(encoding="utf-8").splitlines()]
    state = SliceUNet(2).state_dict()
    ours = [
        [name, "x".join(map(str, tensor.shape)), str(tensor.dtype).removeprefix("torch.")]
        for name, tensor in state.items()
    ]
    assert len(ours) == 492 and ours == rows
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    others = [name for name in SliceUNet(2, norm="batch").state_dict() if not name.endswith(buffers)]
    assert others == list(state)


@pytest.mark.parametrize(("channels", "count"), [(1, 6_599_969), (2, 6_600_257)])
def test_it_has_the_published_number_of_parameters(channels: int, count: int) -> None:
    assert sum(parameter.numel() for parameter in SliceUNet(channels).parameters()) == count


def test_without_a_time_its_output_has_the_published_numbers() -> None:
    with torch.inference_mode():
        output = fill_published(SliceUNet(1))(published_slices(64, 1))
    assert figures(output) == pytest.approx(NUMBERS["unet_no_t"], abs=1e-5)


def test_at_a_time_its_output_has_the_published_numbers() -> None:
    with torch.inference_mode():
        output = fill_published(SliceUNet(2))(published_slices(64, 2), torch.tensor([10.0, 990.0]))
    assert figures(output) == pytest.approx(NUMBERS["unet_t10_990"], abs=1e-5)


@pytest.mark.parametrize("time", [10, 990])
def test_the_embedding_of_a_time_has_the_published_numbers(time: int) -> None:
    (row,) = time_embedding(torch.tensor([float(time)]), 32)
    wanted = NUMBERS["time_emb"][f"t{time}[0,1,15,16,17,31]"]
    assert [float(row[place]) for place in (0, 1, 15, 16, 17, 31)] == pytest.approx(wanted, abs=1e-5)


def test_a_fresh_network_gives_zero_and_learns_in_every_part_that_has_a_time() -> None:
    torch.manual_seed(0)
    network = SliceUNet(2, width=8, multipliers=(1, 1, 2)).train()
    given = torch.randn(2, 2, 16, 24)
    assert not network(given, torch.tensor([3.0, 400.0])).any()
    for _ in range(3):
        loss = (network(given, torch.tensor([3.0, 400.0])) - given[:, :1]).square().mean()
        network.zero_grad()
        loss.backward()
        torch.optim.SGD(network.parameters(), 0.1).step()
    assert all(parameter.grad is not None for parameter in network.parameters())
