"""The methods of slices beside a plain execution of their published networks, in one process and one run.

    python -m benchmarks.slices                 IterMask2 and the masked auto-encoder
    python -m benchmarks.slices --only mae      one of them

First passes, with their published sizes and the weights PyTorch begins with, on slices of the published size; then
whole runs of the bundled models on the bundled brain. Plain is each network as published on PyTorch, one slice at a
time; ours is what a run executes. Passes take turns, batch by batch.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.watch import watched
from IterMask3DLib.core.image import Case
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.core.result import HEATMAP, CaseResult
from IterMask3DLib.methods.itermask2.network import CHANNELS, network
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.mae.network import AUTOENCODER, CLASSIFIER, MaskedAutoEncoder, MaskedPass, built
from IterMask3DLib.methods.mae.settings import MAETrainingSettings
from IterMask3DLib.methods.slices import BATCH, in_batches
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.run import finish, run_case
from IterMask3DLib.runtime import runner as runner_module
from IterMask3DLib.runtime.device import Device
from IterMask3DLib.runtime.runner import Runner, Runtime

PUBLISHED_MAE = MAETrainingSettings(
    patch=16, width=768, depth=12, heads=12, decoder_width=512, decoder_depth=8, decoder_heads=16
)


@dataclass(frozen=True)
class Compared:
    """One network: its name, what is run plainly and by us, and what it is given.

    Attributes:
        network: as the model holds it; form: makes what is run from it.
        given: float32 [slices, c, x, y].
    """

    title: str
    network: nn.Module
    form: Callable[[nn.Module], nn.Module] | None
    given: Tensor


def itermask2(slices: int) -> Iterator[Compared]:
    for name in CHANNELS:
        built_one = network(name).eval()
        # Fresh networks give 0 in closing layers, which would hide what comes before.
        for parameter in built_one.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.02)
        given = torch.randn(slices, CHANNELS[name], 128, 128)
        yield Compared(f"IterMask2, {name}, 128 x 128", built_one, None, given)


def mae(slices: int) -> Iterator[Compared]:
    networks = built((224, 224), PUBLISHED_MAE)
    autoencoder = networks[AUTOENCODER].eval()
    assert isinstance(autoencoder, MaskedAutoEncoder)
    form = partial(MaskedPass, ratio=0.75)
    yield Compared("Masked auto-encoder, 224 x 224", autoencoder, form, torch.randn(slices, 2, 224, 224))
    yield Compared("Its classifier, 224 x 224", networks[CLASSIFIER].eval(), None, torch.randn(slices, 1, 224, 224))


def compare(one: Compared) -> None:
    """Prints what both take, in turns: wall-clock medians of a batch, CPU time of all, and the highest memory."""
    plain = one.network if one.form is None else one.form(one.network)
    runtime = Runtime(Device("cpu"))
    with watched() as compiling:
        begun = time.process_time()
        runner = runtime.runner(one.network, one.form)
        in_batches(runner, one.given[:1])
        ready = time.process_time() - begun
    walls, cpus, peaks, difference = ([], []), [0.0, 0.0], [0.0, compiling.peak], 0.0  # type: ignore[var-annotated]
    for start in range(0, len(one.given), BATCH):
        batch, outputs = one.given[start : start + BATCH], []
        for turn, run in enumerate((partial(_each_alone, plain), partial(in_batches, runner))):
            with torch.inference_mode(), watched() as memory:
                wall, cpu = time.perf_counter(), time.process_time()
                outputs.append(run(batch))
                walls[turn].append(time.perf_counter() - wall)
                cpus[turn] += time.process_time() - cpu
            peaks[turn] = max(peaks[turn], memory.peak)
        difference = max(difference, float((outputs[0] - outputs[1]).abs().max() / outputs[0].abs().max()))
    slow, fast = (statistics.median(each) for each in walls)
    print(f"{one.title}, {BATCH} slices: plain {slow:.2f} s, ours ({runtime.backend}) {fast:.2f} s")
    print(f"  ratio {slow / fast:.2f}, of CPU time {cpus[0] / cpus[1]:.2f}; ready after {ready:.1f} s of it")
    print(
        f"  largest difference {difference:.1e} of the output; memory: plain {peaks[0]:.2f} GB, ours {peaks[1]:.2f} GB"
    )


def _each_alone(network: nn.Module, slices: Tensor) -> Tensor:
    return torch.cat([network(slices[number : number + 1]) for number in range(len(slices))])


class _Plain:
    """What stands for a `Runner`: the network itself, a slice at a time. A slice of zeros fills a batch and is left."""

    def __init__(self, network: nn.Module, runtime: Runtime) -> None:
        self._network = network

    def __call__(self, given: Tensor) -> Tensor:
        real = torch.stack([one.any() for one in given])
        with torch.inference_mode():
            outputs = _each_alone(self._network, given[real])
        filled = outputs.new_zeros(len(given), *outputs.shape[1:])
        filled[real] = outputs
        return filled


def compare_runs(name: str) -> None:
    """Prints what a whole run of a bundled model on the bundled brain takes, plainly and as a user runs it."""
    image, results, spent = read_image(sample_volume()), [], []
    for plainly in (True, False):
        model = load_model(find_model(name))
        with patch.object(runner_module, "Runner", _Plain if plainly else Runner), watched() as memory:
            wall, cpu = time.perf_counter(), time.process_time()
            results.append(finish(run_case(Case.of(image), model, Request(device="cpu"))))
            spent.append((time.perf_counter() - wall, time.process_time() - cpu, memory.peak))
    (slow, slow_cpu, slow_peak), (fast, fast_cpu, fast_peak) = spent
    print(f"{name}, whole run on the bundled brain: plain {slow:.1f} s, ours {fast:.1f} s")
    print(
        f"  ratio {slow / fast:.2f}, of CPU time {slow_cpu / fast_cpu:.2f}; largest difference of the heatmap "
        f"{_apart(*results):.1e} of its highest; memory: plain {slow_peak:.2f} GB, ours {fast_peak:.2f} GB"
    )


def _apart(one: CaseResult, other: CaseResult) -> float:
    first, second = (each.layers[HEATMAP].read() for each in (one, other))
    return float(abs(first - second).max() / first.max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("itermask2", "mae"), help="one of the two alone")
    parser.add_argument("--slices", type=int, default=24, help="of the volume (default: 24)")
    options = parser.parse_args()
    torch.manual_seed(0)
    print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    for name, networks in (("itermask2", itermask2), ("mae", mae)):
        if options.only in (None, name):
            for one in networks(options.slices):
                compare(one)
            compare_runs(f"{name}-t1w-2mm")


if __name__ == "__main__":
    main()
