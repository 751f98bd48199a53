"""OpenVINO computes what PyTorch computes, where it is installed; asked for where it is not, it is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.itermask3d.inference_network import InferenceUNet
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.runtime import openvino
from IterMask3DLib.runtime.device import Device
from IterMask3DLib.runtime.runner import Runtime
from Testing.launcher import python
from Testing.methods.published import NUMBERS, fill_published, published_input

CPU = Device("cpu")
installed = pytest.mark.skipif(not openvino.available(), reason="needs OpenVINO (pip install 'itermask3d[fast]')")
SMALL = (2, 2, 4, 4, 4)


@installed
def test_the_graph_has_the_published_numbers() -> None:
    output = Runtime(CPU).runner(fill_published(UNet3D()), InferenceUNet)(published_input())[0, 0]
    wanted = NUMBERS["unet_out"]
    measured = {"mean": output.mean(), "std": output.std(correction=1), "y[0,0,5,9,21]": output[5, 9, 21]}
    assert {key: float(value) for key, value in measured.items()} == pytest.approx(
        {key: wanted[key] for key in measured}, abs=1e-4
    )


@installed
@pytest.mark.parametrize("widths", [SMALL, (8, 16, 32, 64, 128)])
def test_it_equals_pytorch_on_every_shape_it_meets(widths: tuple[int, ...]) -> None:
    network, runtime = fill_published(UNet3D(widths)), Runtime(CPU)
    fast, plain = runtime.runner(network, InferenceUNet), network.execute_plainly()
    assert runtime.backend == "openvino"
    for shape in ((32, 32, 32), (48, 32, 64), (32, 32, 32)):
        given = torch.randn(1, 2, *shape, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            torch.testing.assert_close(fast(given), plain(given), rtol=1e-4, atol=1e-5)


@installed
def test_a_network_that_builds_no_graph_goes_through_the_converter() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.Conv2d(4, 1, 1)).eval()
    given = torch.randn(3, 2, 16, 24)
    with torch.inference_mode():
        wanted = network(given)
    torch.testing.assert_close(openvino.OpenVINONetwork(network)(given), wanted, rtol=1e-4, atol=1e-5)


@installed
def test_a_result_is_not_overwritten_by_the_next_pass() -> None:
    runner = Runtime(CPU).runner(fill_published(UNet3D(SMALL)), InferenceUNet)
    first = runner(published_input())
    kept = first.clone()
    runner(published_input() * -1)
    torch.testing.assert_close(first, kept, rtol=0, atol=0)


def test_pytorch_can_be_asked_for() -> None:
    assert Runtime(CPU, "pytorch").backend == "pytorch"


def test_where_it_is_not_installed_pytorch_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "available", lambda: False)
    assert Runtime(CPU).backend == "pytorch"
    with pytest.raises(UserError, match="OpenVINO is not installed"):
        Runtime(CPU, "openvino")


@installed
@pytest.mark.parametrize("form", ["network", "torch.nn.Sequential(network)"])
def test_nothing_is_sent_anywhere(form: str, tmp_path: Path) -> None:
    """The package reports to a web service, from a process of its own, unless its telemetry cannot be imported."""
    code = (
        "import sys, torch\n"
        "forbidden = ('socket.', 'os.fork', 'os.posix_spawn', 'subprocess.Popen')\n"
        "sys.addaudithook(lambda event, given: event.startswith(forbidden) and sys.exit(3))\n"
        "from IterMask3DLib.methods.itermask3d.inference_network import InferenceUNet\n"
        "from IterMask3DLib.methods.itermask3d.network import UNet3D\n"
        "from IterMask3DLib.runtime.openvino import OpenVINONetwork\n"
        "network = InferenceUNet(UNet3D((2, 2, 4, 4, 4)).eval())\n"
        f"print(OpenVINONetwork({form})(torch.zeros(1, 2, 32, 32, 32)).shape)\n"
    )
    done = python(code, HOME=str(tmp_path), USERPROFILE=str(tmp_path))
    assert done.returncode == 0 and "[1, 1, 32, 32, 32]" in done.stdout, done.stderr
    # Its telemetry keeps an identity of the user in the home folder.
    assert not (tmp_path / "intel").exists()


@installed
def test_signals_are_survived_whatever_the_order_in_which_networks_end() -> None:
    # In a process of its own, which a signal on a freed stack kills.
    script = """
import signal, torch
from torch import nn
from IterMask3DLib.runtime.openvino import OpenVINONetwork
heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append(1))
made = [OpenVINONetwork(nn.Conv3d(1, 2, 3).eval()) for _ in range(3)]
for network in made:
    network(torch.rand(1, 1, 16, 16, 16))
del network
while made:
    del made[0]
    signal.raise_signal(signal.SIGINT)
assert len(heard) == 3
"""
    done = python(script)
    assert done.returncode == 0, done.stderr
