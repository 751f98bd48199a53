"""One network pass on the CPU by every means at hand, in turns.

For each: seconds of a pass, their ratio to the plain network's, seconds until the first output (conversion and
compilation with the first pass), and the largest difference to the plain output. What is not installed is left out.

pip install -e ".[benchmark]" && python -m benchmarks.executors [--side 80 96 80] [--widths 8 16 32 64 128]
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import nn

from IterMask3DLib.methods.itermask3d.inference_network import InferenceUNet
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.runtime.openvino import OpenVINONetwork, available, load_openvino

Executor = Callable[[torch.Tensor], torch.Tensor]


def on_onnx_runtime(network: InferenceUNet, given: torch.Tensor) -> Executor:
    """The folded network as an ONNX graph, on ONNX Runtime with as many threads as PyTorch."""
    import onnxruntime

    file = io.BytesIO()
    torch.onnx.export(network, (given,), file, dynamo=False, opset_version=17)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


class WithoutGraph(nn.Module):
    """A network whose own way to build an OpenVINO graph is hidden, so that OpenVINO's converter has to do it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return self.network(given)


def executors(network: UNet3D, given: torch.Tensor) -> dict[str, Callable[[], Executor]]:
    """What makes each of them ready."""
    folded = InferenceUNet(network)

    def channels_last(compiled: bool) -> Executor:
        last: Executor = InferenceUNet(network).to(memory_format=torch.channels_last_3d)
        execute = torch.compile(last) if compiled else last
        return lambda x: execute(x.contiguous(memory_format=torch.channels_last_3d))

    found: dict[str, Callable[[], Executor]] = {
        "plain": network.execute_plainly,
        "folded": lambda: folded,
        "folded, channels last": lambda: channels_last(False),
        "folded, channels last, torch.compile": lambda: channels_last(True),
    }
    if find_spec("onnx") and find_spec("onnxruntime"):
        found["folded, ONNX Runtime"] = lambda: on_onnx_runtime(folded, given)
    if available():
        # What everything of OpenVINO needs once is not counted against the first of its rows.
        load_openvino().Core()
        found["folded, OpenVINO"] = lambda: OpenVINONetwork(folded)
        found["folded, OpenVINO's converter"] = lambda: OpenVINONetwork(WithoutGraph(folded))
    return found


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, nargs=3, default=(80, 96, 80))
    parser.add_argument("--widths", type=int, nargs=5, default=(8, 16, 32, 64, 128))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    network, given = UNet3D(tuple(options.widths)).eval(), torch.randn(1, 2, *options.side)
    known, outputs, ready = {}, {}, {}
    for name, make in executors(network, given).items():
        begun = time.perf_counter()
        known[name] = make()
        outputs[name] = known[name](given).clone()
        ready[name] = time.perf_counter() - begun
    seconds: dict[str, list[float]] = {name: [] for name in known}
    for _ in range(options.rounds):
        for name, execute in known.items():
            begun = time.perf_counter()
            execute(given)
            seconds[name].append(time.perf_counter() - begun)
    plain = statistics.median(seconds["plain"])
    print(f"{' x '.join(map(str, options.side))} voxels, widths {options.widths}, {torch.get_num_threads()} threads")
    for name, each in seconds.items():
        off = float((outputs[name] - outputs["plain"]).abs().max() / outputs["plain"].abs().max())
        middle = statistics.median(each)
        times = f"{middle:8.3f} s  ratio {plain / middle:5.2f}  first output after {ready[name]:6.2f} s"
        print(f"{name:40s} {times}  difference {off:.1e}")


if __name__ == "__main__":
    main()
