"""OpenVINO computes what PyTorch computes, where it is installed; asked for where it is not, it is refused in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from IterMask3DLib.engine import openvino_execution
from IterMask3DLib.runtime.device import Place, Runner
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.itermask3d.inference_network import InferenceUNet
from IterMask3DLib.methods.itermask3d.network import UNet3D
from Testing.engine.published import NUMBERS, fill_published, published_input

CPU = Place("cpu", False)
installed = pytest.mark.skipif(not openvino_execution.available(), reason="needs OpenVINO (pip install 'itermask3d[fast]')")


@installed
def test_the_graph_has_the_published_numbers() -> None:
    output = openvino_execution.OpenVINOUNet(InferenceUNet(fill_published(UNet3D())))(published_input())[0, 0]
    wanted = NUMBERS["unet_out"]
    measured = {"mean": output.mean(), "std": output.std(correction=1), "y[0,0,5,9,21]": output[5, 9, 21]}
    assert {key: float(value) for key, value in measured.items()} == pytest.approx({key: wanted[key] for key in measured}, abs=1e-4)


@installed
@pytest.mark.parametrize("widths", [(2, 2, 4, 4, 4), (8, 16, 32, 64, 128)])
def test_it_equals_pytorch_on_every_shape_it_meets(widths: tuple[int, ...]) -> None:
    network = fill_published(UNet3D(widths))
    fast, plain = Runner(InferenceUNet(network), CPU), network.execute_plainly()
    assert fast.backend == "openvino"
    for shape in ((32, 32, 32), (48, 32, 64), (32, 32, 32)):
        given = torch.randn(1, 2, *shape, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            torch.testing.assert_close(fast(given), plain(given)[0, 0], rtol=1e-4, atol=1e-5)


@installed
def test_a_result_is_not_overwritten_by_the_next_pass() -> None:
    runner = Runner(InferenceUNet(fill_published(UNet3D((2, 2, 4, 4, 4)))), CPU)
    first = runner(published_input())
    kept = first.clone()
    runner(published_input() * -1)
    torch.testing.assert_close(first, kept, rtol=0, atol=0)


def test_pytorch_can_be_asked_for() -> None:
    assert Runner(InferenceUNet(UNet3D((2, 2, 4, 4, 4))), CPU, "pytorch").backend == "pytorch"


def test_where_it_is_not_installed_pytorch_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_execution, "available", lambda: False)
    network = InferenceUNet(UNet3D((2, 2, 4, 4, 4)))
    assert Runner(network, CPU).backend == "pytorch"
    with pytest.raises(UserError, match="OpenVINO is not installed"):
        Runner(network, CPU, "openvino")


@installed
def test_nothing_is_sent_anywhere() -> None:
    """The package brings telemetry for its model converter, which is never used here."""
    code = (
        "import sys, torch\n"
        "sys.addaudithook(lambda event, given: event.startswith('socket.') and sys.exit(3))\n"
        "from IterMask3DLib.methods.itermask3d.inference_network import InferenceUNet\n"
        "from IterMask3DLib.methods.itermask3d.network import UNet3D\n"
        "from IterMask3DLib.runtime.openvino import OpenVINOUNet\n"
        "print(OpenVINOUNet(InferenceUNet(UNet3D((2, 2, 4, 4, 4)).eval()))(torch.zeros(1, 2, 32, 32, 32)).shape)\n"
    )
    module = Path(openvino_execution.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(module)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "[1, 1, 32, 32, 32]" in done.stdout, done.stderr
