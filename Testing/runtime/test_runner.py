"""Where a run goes when memory is short, and what the user is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.runtime import device
from IterMask3DLib.runtime.device import Device, choose_device
from IterMask3DLib.runtime.runner import Runner, Runtime

GIVEN = torch.arange(2 * 8.0).reshape(1, 2, 2, 2, 2)
CPU = Device("cpu")


class TooSmall(Runner):
    """A runner whose devices beside the CPU are too small; keeps where it tried."""

    def __init__(self, device: Device, message: str = "CUDA out of memory") -> None:
        self.tried: list[str] = []
        self.runtime = Runtime(device, "pytorch")
        self._message = message
        super().__init__(nn.Identity(), self.runtime)

    def _settle(self) -> None:
        self._settled = self.runtime.device
        self.tried.append(str(self.runtime.device))
        self._execute = self._fail_or_run

    def _fail_or_run(self, given: Tensor) -> Tensor:
        if self.runtime.device.kind != "cpu":
            raise (torch.cuda.OutOfMemoryError if "memory" in self._message else RuntimeError)(self._message)
        return given


def test_a_full_gpu_is_left_by_way_of_half_precision_and_the_user_is_told() -> None:
    runner = TooSmall(Device("cuda"))
    torch.testing.assert_close(runner(GIVEN), GIVEN)
    assert runner.tried == ["cuda in single precision", "cuda in half precision", "cpu in single precision"]
    notices = runner.runtime.notices
    assert len(notices) == 2 and "ran out of memory" in notices[0] and "cpu in single precision" in notices[1]
    runner(GIVEN)
    assert len(notices) == 2


def test_every_network_of_a_run_goes_on_where_the_first_one_went() -> None:
    runner = TooSmall(Device("cuda", half=True))
    runner(GIVEN)
    assert runner.runtime.device == CPU
    torch.testing.assert_close(runner.runtime.runner(nn.Identity())(GIVEN), GIVEN)


def test_an_operation_mps_lacks_sends_the_run_to_the_cpu() -> None:
    runner = TooSmall(Device("mps"), "not implemented for MPS")
    runner(GIVEN)
    assert runner.tried[-1] == "cpu in single precision" and "cannot run this network" in runner.runtime.notices[0]


def test_an_error_that_is_not_about_the_device_is_raised() -> None:
    with pytest.raises(RuntimeError, match="sizes"):
        TooSmall(Device("cuda", half=True), "sizes do not match")(GIVEN)


def test_from_the_cpu_there_is_nowhere_to_go() -> None:
    assert CPU.smaller is None

    class Full(nn.Module):
        def forward(self, given: Tensor) -> Tensor:
            raise RuntimeError("DefaultCPUAllocator: out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        Runtime(CPU, "pytorch").runner(Full())(GIVEN)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="--device auto"):
        choose_device("cuda")
    with pytest.raises(UserError, match="tpu is not known"):
        choose_device("tpu")


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str) -> None:
    """PyTorch that says of itself what it was built for, and of the machine that there is a GPU."""
    (tmp_path / "version.py").write_text(version, encoding="utf-8")
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(device, "find_spec", lambda name: found)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_cuda_means_half_precision_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend_gpus(monkeypatch, tmp_path, "cuda: str | None = '13.0'\n")
    assert choose_device("auto") == Device("cuda", half=True)
    assert choose_device("cuda", "single") == Device("cuda")
    assert choose_device("cpu") == CPU
    assert choose_device("cpu", "half") == Device("cpu", half=True)
    assert Runtime.of(Request(device="cuda", seed=7)).seed == 7


@pytest.mark.parametrize(
    ("version", "built"),
    [("cuda = '12.8'", True), ("cuda = None\nhip = '6.3'", True), ("cuda = None\nhip = None", False), ("cuda =", True)],
)
def test_pytorch_is_asked_for_gpus_where_it_was_built_for_them(
    version: str, built: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where it does not say what it was built for."""
    pretend_gpus(monkeypatch, tmp_path, version)
    assert choose_device("auto").kind == ("cuda" if built else "cpu")


def test_without_pytorch_there_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "find_spec", lambda name: None)
    assert choose_device() == CPU
    with pytest.raises(UserError, match="cuda is not available"):
        choose_device("cuda")


@pytest.mark.parametrize("backend", ["pytorch", "openvino"])
def test_of_an_array_an_array_and_of_a_tensor_a_tensor(backend: str) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    runner = Runtime(CPU, backend).runner(nn.Conv3d(2, 1, 3, padding=1).eval())
    given = torch.rand(1, 2, 8, 8, 8)
    of_tensor, of_array = runner(given), runner(given.numpy())
    assert isinstance(of_tensor, Tensor) and isinstance(of_array, np.ndarray)
    np.testing.assert_array_equal(of_array, of_tensor.numpy())
    runner(-given.numpy())
    np.testing.assert_array_equal(of_array, of_tensor.numpy())


def test_slices_and_volumes_both_run() -> None:
    torch.manual_seed(0)
    for network, shape in (
        (nn.Conv2d(2, 1, 3, padding=1), (3, 2, 16, 20)),
        (nn.Conv3d(2, 1, 3, padding=1), (1, 2, 8, 8, 8)),
    ):
        given = torch.randn(shape)
        with torch.inference_mode():
            wanted = network(given)
        runner = Runtime(CPU, "pytorch").runner(network)
        torch.testing.assert_close(runner(given), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_half_precision_on_cuda_agrees_with_the_cpu() -> None:
    torch.manual_seed(0)
    network, given = nn.Conv3d(2, 1, 3, padding=1), torch.randn(1, 2, 32, 32, 32)
    on_cpu = Runtime(CPU, "pytorch").runner(network)(given)
    on_cuda = Runtime(Device("cuda", half=True)).runner(network)(given)
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, rtol=2e-2, atol=5e-3)
