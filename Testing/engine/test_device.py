"""Where a run goes when memory is short, and what the user is told."""

from __future__ import annotations

import pytest
import torch

from IterMask3DLib.runtime.device import Place, Runner, choose_place, next_place
from IterMask3DLib.core.errors import UserError


class Recorder(Runner):
    """A runner whose places beside the CPU are too small; keeps where it tried."""

    def __init__(self, place: Place, message: str = "CUDA out of memory") -> None:
        self.tried: list[str] = []
        self.message = message
        super().__init__(torch.nn.Identity(), place)

    def _settle(self) -> None:
        self.tried.append(str(self.place))

    def _run(self, channels: torch.Tensor) -> torch.Tensor:
        if self.place.device != "cpu":
            raise torch.cuda.OutOfMemoryError(self.message) if "memory" in self.message else RuntimeError(self.message)
        return channels[0, 0]


CHANNELS = torch.arange(2 * 8.0).reshape(1, 2, 2, 2, 2)


def test_a_full_gpu_is_left_by_way_of_half_precision_and_the_user_is_told() -> None:
    runner = Recorder(Place("cuda", False))
    torch.testing.assert_close(runner(CHANNELS), CHANNELS[0, 0])
    assert runner.tried == ["cuda in single precision", "cuda in half precision", "cpu in single precision"]
    assert len(runner.notices) == 2 and "ran out of memory" in runner.notices[0]
    assert "cpu in single precision" in runner.notices[1]
    runner(CHANNELS)
    assert len(runner.notices) == 2


def test_an_operation_mps_lacks_sends_the_run_to_the_cpu() -> None:
    runner = Recorder(Place("mps", False), "not implemented for MPS")
    runner(CHANNELS)
    assert runner.tried[-1] == "cpu in single precision" and "cannot run this network" in runner.notices[0]


def test_an_error_that_is_not_about_the_device_is_raised() -> None:
    with pytest.raises(RuntimeError, match="sizes"):
        Recorder(Place("cuda", True), "sizes do not match")(CHANNELS)


def test_from_the_cpu_there_is_nowhere_to_go() -> None:
    assert next_place(Place("cpu", False)) is None


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="--device auto"):
        choose_place("cuda")


def test_cuda_means_half_precision_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_place("auto") == Place("cuda", True)
    assert choose_place("cuda", half=False) == Place("cuda", False)
    assert choose_place("cpu") == Place("cpu", False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_half_precision_on_cuda_agrees_with_the_cpu() -> None:
    torch.manual_seed(0)
    network, given = torch.nn.Conv3d(2, 1, 3, padding=1), torch.randn(1, 2, 32, 32, 32)
    on_cpu = Runner(network, Place("cpu", False))(given)
    torch.testing.assert_close(Runner(network, Place("cuda", True))(given).cpu(), on_cpu, rtol=2e-2, atol=5e-3)
