"""One network pass on the CPU by every means at hand, in turns: time ratio to the plain network, and the difference.

pip install -e ".[benchmark]" && python -m benchmarks.executors [--side 80 96 80] [--widths 8 16 32 64 128]
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable

import torch

from IterMask3DLib.methods.itermask3d.inference_network import InferenceUNet
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.runtime.openvino import OpenVINONetwork

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


def executors(network: UNet3D, given: torch.Tensor) -> dict[str, Executor]:
    folded = InferenceUNet(network)
    last = InferenceUNet(network).to(memory_format=torch.channels_last_3d)
    compiled = torch.compile(InferenceUNet(network).to(memory_format=torch.channels_last_3d))
    return {
        "plain": network.execute_plainly(),
        "folded": folded,
        "folded, channels last": lambda x: last(x.contiguous(memory_format=torch.channels_last_3d)),
        "folded, channels last, torch.compile": lambda x: compiled(x.contiguous(memory_format=torch.channels_last_3d)),
        "folded, ONNX Runtime": on_onnx_runtime(folded, given),
        "folded, OpenVINO": OpenVINONetwork(folded),
    }


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, nargs=3, default=(80, 96, 80))
    parser.add_argument("--widths", type=int, nargs=5, default=(8, 16, 32, 64, 128))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    network, given = UNet3D(tuple(options.widths)).eval(), torch.randn(1, 2, *options.side)
    seconds: dict[str, list[float]] = {}
    outputs = {}
    known = executors(network, given)
    for name, execute in known.items():
        outputs[name] = execute(given).clone()
    for _ in range(options.rounds):
        for name, execute in known.items():
            begun = time.perf_counter()
            execute(given)
            seconds.setdefault(name, []).append(time.perf_counter() - begun)
    plain = statistics.median(seconds["plain"])
    print(f"{' x '.join(map(str, options.side))} voxels, widths {options.widths}, {torch.get_num_threads()} threads")
    for name, each in seconds.items():
        off = float((outputs[name] - outputs["plain"]).abs().max() / outputs["plain"].abs().max())
        middle = statistics.median(each)
        print(f"{name:40s} {middle:8.3f} s  ratio {plain / middle:5.2f}  difference {off:.1e}")


if __name__ == "__main__":
    main()
