"""The network is the published one, however it is executed."""

from __future__ import annotations

import pytest
import torch

from IterMask3DLib.methods.itermask3d.folded_unet import tensor_kinds
from IterMask3DLib.methods.itermask3d.inference_network import InferenceUNet
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.methods.itermask3d.settings import PUBLISHED_WIDTHS
from IterMask3DLib.models.weights import kinds_of
from Testing.methods.published import GOLDEN, NUMBERS, fill_published, published_input


@pytest.fixture(scope="module")
def network() -> UNet3D:
    return fill_published(UNet3D())


def test_the_state_dict_has_the_published_names_shapes_types_and_order() -> None:
    rows = [line.split("\t") for line in (GOLDEN / "keys_itermask3d.tsv").read_text(encoding="utf-8").splitlines()]
    ours = [
        [name, "x".join(map(str, tensor.shape)) or "scalar", str(tensor.dtype).removeprefix("torch.")]
        for name, tensor in UNet3D().state_dict().items()
    ]
    assert len(ours) == 138
    assert ours == rows


@pytest.mark.parametrize("widths", [PUBLISHED_WIDTHS, (2, 3, 4, 5, 6), (1, 1, 1, 1, 1)])
def test_its_tensors_are_known_without_pytorch(widths: tuple[int, ...]) -> None:
    assert list(tensor_kinds(widths).items()) == list(kinds_of(UNet3D(widths).state_dict()).items())


def test_it_has_the_published_number_of_parameters() -> None:
    assert sum(parameter.numel() for parameter in UNet3D().parameters()) == 8_902_626


@pytest.mark.parametrize("execution", ["plain", "transposed", "inference"])
def test_its_output_has_the_published_numbers(network: UNet3D, execution: str) -> None:
    runner = InferenceUNet(network) if execution == "inference" else network.execute_plainly(execution == "plain")
    with torch.inference_mode():
        output = runner(published_input())[0, 0]
    wanted = NUMBERS["unet_out"]
    points = {"y[0,0,0,0,0]": output[0, 0, 0], "y[0,0,5,9,21]": output[5, 9, 21], "y[0,0,16,16,16]": output[16, 16, 16]}
    points["y[0,0,31,31,31]"] = output[31, 31, 31]
    measured = {
        "mean": output.mean(),
        "std": output.std(correction=1),
        "min": output.min(),
        "max": output.max(),
        **points,
    }
    assert {key: float(value) for key, value in measured.items()} == pytest.approx(wanted, abs=1e-4)


def test_every_stage_has_the_published_numbers(network: UNet3D) -> None:
    seen: dict[str, list[float]] = {}

    def note(name: str) -> None:
        def hook(module: torch.nn.Module, given: object, output: torch.Tensor) -> None:
            flat = output.reshape(-1)
            seen[name] = [float(v) for v in (flat.mean(), flat.std(correction=1), flat[0], flat[-1])]

        handles.append(getattr(network, name).register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    wanted = NUMBERS["stage_mean_std_first_last"]
    for stage in wanted:
        note(stage)
    with torch.inference_mode():
        network(published_input())
    for handle in handles:
        handle.remove()
    for stage, numbers in wanted.items():
        assert seen[stage] == pytest.approx(numbers, abs=1e-4), stage


def test_the_inference_network_equals_the_plain_one_on_a_grid_that_is_no_cube() -> None:
    torch.manual_seed(0)
    network = UNet3D((4, 6, 8, 10, 12)).train()
    given = torch.randn(2, 2, 48, 64, 32)
    for _ in range(3):
        network(given)
    network.eval().execute_plainly()
    with torch.inference_mode():
        plain = network(given)
        torch.testing.assert_close(InferenceUNet(network)(given), plain, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network.execute_plainly(False)(given), plain, rtol=1e-4, atol=1e-5)


def test_the_transposed_convolution_trains_the_same_weights() -> None:
    gradients = []
    for plain in (True, False):
        torch.manual_seed(3)
        network = UNet3D((2, 2, 4, 4, 4), dropout=0.0).execute_plainly(plain)
        network(published_input(32)).square().mean().backward()
        gradients.append(network.up_stage_4[1].conv.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-6)
