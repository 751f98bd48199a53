"""What a large scan takes outside the network: seconds and peak memory of preparing it and of bringing results home.

    python -m benchmarks.preparation                   240 x 240 x 155 at 1 mm, then 512 x 512 x 400 at 0.4 mm
    python -m benchmarks.preparation --only 240

The scans are made by a formula and stripped; they are prepared for the bundled model, whose three layers are restored.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np

from benchmarks.watch import Clock, watched
from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.core.result import Layer
from IterMask3DLib.models.catalogue import find_model, read_card
from IterMask3DLib.preprocessing.prepare import Prepared, prepare

SCANS = {"240": ((240, 240, 155), (1.0, 1.0, 1.0)), "512": ((512, 512, 400), (0.4, 0.4, 0.4))}
_HALF_AXES_MM = (66.0, 84.0, 62.0)


def scan(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Image:
    """A stripped ellipsoid with waves inside, int16 [i, j, k], its axes as a scanner often has them (LPS)."""
    i, j, k = (
        (np.arange(size) - (size - 1) / 2).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)]) * mm
        for axis, (size, mm) in enumerate(zip(shape, spacing, strict=True))
    )
    half = [np.float32(mm) for mm in _HALF_AXES_MM]
    brain = (i / half[0]) ** 2 + (j / half[1]) ** 2 + (k / half[2]) ** 2 <= 1
    values = 300 + 60 * np.sin(i / 9) * np.cos(j / 11) + 40 * np.sin(k / 13)
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = [(shape[0] - 1) / 2 * spacing[0], (shape[1] - 1) / 2 * spacing[1], -(shape[2] - 1) / 2 * spacing[2]]
    # Files keep the first axis fastest.
    return Image(np.asfortranarray(np.where(brain, values, 0).astype(np.int16)), affine, "scan")


def restored(prepared: Prepared) -> list[np.ndarray]:
    """The layers a run brings home: a mask, a score and an intensity."""
    values = prepared.channels[0]
    layers = (Layer.mask(prepared.brain & (values > 1)), Layer.score(values), Layer.intensity(values))
    return [prepared.restore(layer).read() for layer in layers]


def compare(name: str, card: ModelCard, repeats: int) -> None:
    """Prints what one scan takes."""
    image, clock, peaks = scan(*SCANS[name]), Clock(), {}
    seconds: dict[str, list[float]] = {"prepare": [], "restore": []}
    for _ in range(repeats):
        with watched() as memory:
            prepared = clock.timed("prepare", prepare)(Case.of(image), card)
        peaks["prepare"] = max(peaks.get("prepare", 0.0), memory.peak)
        with watched() as memory:
            layers = clock.timed("restore", restored)(prepared)
        peaks["restore"] = max(peaks.get("restore", 0.0), memory.peak)
        for part, each in seconds.items():
            each.append(clock.seconds.pop(part))
    megabytes = image.array.nbytes / 1e6
    print(f"{' x '.join(map(str, image.array.shape))}: {megabytes:.0f} MB, {int(layers[0].sum())} voxels in the mask")
    for part, each in seconds.items():
        print(f"  {part}: {statistics.median(each):.2f} s, {peaks[part]:.2f} GB above what was there")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=tuple(SCANS), help="one scan alone")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    card = read_card(find_model(None))
    for name in [options.only] if options.only else SCANS:
        compare(name, card, options.repeats)


if __name__ == "__main__":
    main()
