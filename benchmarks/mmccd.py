"""MMCCD beside a plain execution of its published network, and how many of its passes the score map needs.

    python -m benchmarks.mmccd                                      a pass and a whole run at the published size
    python -m benchmarks.mmccd --agreement MODEL CHANNEL=FILE …     score maps of fewer passes, on the largest slice

Plain is what the public code does: the network in contiguous memory on PyTorch, every band on every slice. Both work on
the bundled brain, in one process, with untrained networks; seconds are those of the CPU, which other work on the
machine changes less. A whole run is reckoned from the passes that were timed: it takes days.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from IterMask3DLib.core.card import CardGrid, ModelCard, NetworkEntry
from IterMask3DLib.core.image import Case
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.core.result import HEATMAP
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.mmccd.bands import bands_of, pixels
from IterMask3DLib.methods.mmccd.method import MMCCD, eroded, looks_of
from IterMask3DLib.methods.mmccd.network import DenoisingNetwork
from IterMask3DLib.methods.mmccd.settings import MMCCDSettings
from IterMask3DLib.methods.shared_settings import PUBLISHED_SHAPE, PUBLISHED_SLICE_SPACING, PUBLISHED_SPACING
from IterMask3DLib.methods.slice_unet import SliceUNet
from IterMask3DLib.models.store import WEIGHTS
from IterMask3DLib.preprocessing.prepare import Prepared, prepare
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.runtime.device import Device
from IterMask3DLib.runtime.runner import Runtime

FEWER = ((50, 1), (20, 1), (10, 1), (5, 1), (2, 1), (1, 1), (10, 2), (10, 4), (10, 8), (5, 8), (2, 8))
"""Denoising steps, and by how much the step of the bands is longer than published, that are tried."""


def published_card() -> ModelCard:
    """The published grid."""
    grid = CardGrid(PUBLISHED_SPACING, PUBLISHED_SHAPE, 16, PUBLISHED_SLICE_SPACING)
    networks = {name: NetworkEntry(WEIGHTS, config={"width": 32}) for name in ("diffusion", "back_translator")}
    return ModelCard("published-size", "Published size", "mmccd", ("T1w",), grid, networks, "p90")


def cpu_seconds(work: Callable[[], object], repeats: int) -> float:
    """The median of several times, the first of which is not counted."""
    taken = []
    for _ in range(repeats + 1):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return statistics.median(taken[1:])


def compare(batch: int, repeats: int) -> None:
    """Prints what a pass takes, and what a whole run would."""
    torch.manual_seed(0)
    network = DenoisingNetwork(SliceUNet(2)).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    given = torch.randn(batch, 3, *PUBLISHED_SHAPE)
    given[:, 2] = 500.0

    def plain() -> torch.Tensor:
        with torch.inference_mode():
            return network(given)

    slow, output = cpu_seconds(plain, repeats), plain()
    runner = Runtime(Device("cpu")).runner(network)
    quick, ours = cpu_seconds(lambda: runner(given), repeats), runner(given)
    difference = float((output - ours).abs().max() / output.abs().max())
    print(f"pass of {batch} slices: plain {slow:.2f} s, ours {quick:.2f} s: {slow / quick:.2f}")
    print(f"  largest difference {difference:.1e} of the output")
    case = prepare(Case.of(read_image(sample_volume())), published_card())
    settings = MMCCDSettings()
    slices, looks = case.brain.shape[2], sum(map(len, looks_of(case, settings)))
    bands = len(bands_of(PUBLISHED_SHAPE, *(pixels(mm, PUBLISHED_SPACING) for mm in (30.0, 3.75))))
    passes = settings.denoising_steps + 1
    print(f"bundled brain, {slices} slices of {' x '.join(map(str, PUBLISHED_SHAPE))}, {passes} passes for each band")
    plainly, we = slices * bands * passes * slow / batch, looks * passes * quick / batch
    print(f"  plain: {slices * bands} slices behind bands, {plainly / 3600:.1f} CPU hours (reckoned)")
    print(f"  ours:  {looks} that touch the brain, {we / 3600:.1f} CPU hours (reckoned): ratio {plainly / we:.2f}")


def score_map(case: Prepared, model: str, settings: MMCCDSettings, seed: int) -> tuple[NDArray[np.float32], float]:
    """The score map of a run [x, y, 1], and its CPU seconds."""
    begun = time.process_time()
    run = MMCCD().infer(case, load_model(Path(model)), settings, Runtime(Device("cpu"), seed=seed))
    try:
        while True:
            next(run)
    except StopIteration as end:
        return end.value.layers[HEATMAP].read(), time.process_time() - begun


def agreement(model: str, files: list[str]) -> None:
    """Prints how score maps of fewer passes differ from that of every pass, beside that of another seed."""
    card = load_model(Path(model)).card
    images = {name: read_image(path) for name, path in (file.split("=", 1) for file in files)}
    whole = prepare(Case("case", images), card)
    z = int(whole.brain.sum(axis=(0, 1)).argmax())
    case = replace(whole, channels=whole.channels[..., z : z + 1], brain=whole.brain[..., z : z + 1])
    counted = eroded(case.brain, MMCCDSettings().erosion_mm / case.spacing[0])
    usual = replace(MMCCDSettings(), **{k: v for k, v in card.settings.items() if k == "band_mm"})
    wanted, seconds = score_map(case, model, usual, 0)
    made, published = _passes(case, usual), _whole(case, usual)
    print(f"slice {z}, {counted.sum()} pixels; {made} of {published} passes touch its brain, {seconds:.0f} CPU s")
    print("| denoising steps | band step, mm | passes | of all | r | mean difference | highest 5 %, Dice | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    for steps, longer, seed in [(100, 1, 1), *((steps, longer, 0) for steps, longer in FEWER)]:
        settings = replace(usual, denoising_steps=steps, band_step_mm=usual.band_step_mm * longer)
        found, seconds = score_map(case, model, settings, seed)
        one, other = wanted[counted], found[counted]
        r = np.corrcoef(one, other)[0, 1]
        difference = np.abs(one - other).mean() / one.mean()
        high, too = (each > np.quantile(each, 0.95) for each in (one, other))
        dice = 2 * (high & too).sum() / (high.sum() + too.sum())
        name = f"{steps}{' (another seed)' if seed else ''}"
        share = _passes(case, settings) / _whole(case, usual)
        figures = f"{share:.3%} | {r:.4f} | {difference:.1%} | {dice:.3f} | {seconds:.1f}"
        print(f"| {name} | {settings.band_step_mm:g} | {_passes(case, settings)} | {figures} |", flush=True)


def _passes(case: Prepared, settings: MMCCDSettings) -> int:
    """Passes of the slice: those of its bands."""
    return sum(map(len, looks_of(case, settings))) * (settings.denoising_steps + 1)


def _whole(case: Prepared, settings: MMCCDSettings) -> int:
    """Passes of the slice as published: those of every band."""
    shape = case.brain.shape[0], case.brain.shape[1]
    bands = bands_of(shape, *(pixels(mm, case.spacing[0]) for mm in (settings.band_mm, settings.band_step_mm)))
    return len(bands) * (settings.denoising_steps + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agreement", nargs="+", metavar=("MODEL", "CHANNEL=FILE"), help="a trained model, a volume")
    parser.add_argument("--batch", type=int, default=16, help="slices a pass (default: 16)")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    if options.agreement:
        agreement(options.agreement[0], options.agreement[1:])
    else:
        compare(options.batch, options.repeats)


if __name__ == "__main__":
    main()
