"""The bundled models on scans as other scanners and protocols would make them.

    python -m benchmarks.robustness DATA [-o OUT.csv]

DATA as of `itermask3d evaluate`. The T1, T2 and FLAIR of `tumours/`, and healthy test brains of two scanners (T1), as
they are and each changed in one way: slices of 5 mm, a head turned by 15 degrees, noise of a tenth of the brain's
median, blur of 3 mm (full width at half maximum), another curve of intensities, a bias field as in the artefacts of the
evaluation. Prints the Dice of the own mask for each contrast, and how much of a healthy brain is outlined. Nothing was
chosen on these changes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from tqdm import tqdm

from benchmarks.ablation import MODELS
from benchmarks.agreement import dice
from IterMask3DLib.core.image import BoolVolume, Image
from IterMask3DLib.core.request import Request
from IterMask3DLib.evaluation.artefacts import Artefact, corrupt
from IterMask3DLib.evaluation.cases import EvaluationCase, LoadedCase, healthy_cases, held_out_brains, labelled_cases
from IterMask3DLib.evaluation.detectors import ModelDetector
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.preprocessing.labelled import by_contrast, find_labelled

HEALTHY = ("ixi", "ds002748")
BRAINS = 3

_SLICE_MM = 5.0
_DEGREES = 15.0
_NOISE = 0.1
_BLUR_MM = 3.0 / 2.355
_GAMMA = 0.7

Change = Callable[[LoadedCase], LoadedCase]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT.csv", help="each case of the means that are printed")
    options = parser.parse_args()
    detectors = {contrast: ModelDetector(load_model(find_model(name)), Request()) for contrast, name in MODELS.items()}
    rows = []
    for case in tqdm(cases(options.data), unit=" cases"):
        loaded = case.load()
        contrast = case.facts["contrast"]
        for name, change in CHANGES.items():
            changed = change(loaded)
            mask = detectors[contrast].detect(changed).mask
            assert mask is not None
            if changed.truth is None:
                where, figure = "healthy, % outlined", 100 * mask.sum() / changed.brain.sum()
            else:
                where, figure = f"tumours, {contrast}", dice(mask, changed.truth)
            rows.append((name, where, case.name, float(figure)))
    table = pd.DataFrame(rows, columns=["change", "set", "case", "figure"])
    if options.output is not None:
        table.round(4).to_csv(options.output, index=False)
    means = table.pivot_table("figure", "change", "set", sort=False)
    print(means.round(2).to_string())


def cases(data: Path) -> list[EvaluationCase]:
    """The tumours, and the first test brains of each scanner."""
    brains = [brain for cohort in HEALTHY for brain in held_out_brains(data / cohort)[:BRAINS]]
    tumours = labelled_cases(by_contrast(find_labelled(data / "tumours", tuple(MODELS))))
    return [*tumours, *healthy_cases(brains)]


def on_images(change: Callable[[Image, BoolVolume], Image]) -> Change:
    """Changes the intensities alone."""

    def changed(case: LoadedCase) -> LoadedCase:
        return replace(case, images={name: change(image, case.brain) for name, image in case.images.items()})

    return changed


def thick_slices(case: LoadedCase) -> LoadedCase:
    """Means of so many slices along the third axis as make 5 mm."""
    reference = case.reference
    count = round(_SLICE_MM / reference.spacing[2])
    slices = reference.array.shape[2] // count * count
    affine = reference.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (count - 1) / 2
    affine[:3, 2] *= count

    def mean(array: np.ndarray) -> np.ndarray:
        return array[:, :, :slices].reshape(*array.shape[:2], -1, count).mean(-1)

    brain = mean(case.brain) >= 0.5
    images = {
        name: replace(image, array=np.where(brain, mean(image.array), 0).astype(np.float32), affine=affine)
        for name, image in case.images.items()
    }
    truth = None if case.truth is None else mean(case.truth) >= 0.5
    return replace(case, images=images, brain=brain, truth=truth)


def turned(case: LoadedCase) -> LoadedCase:
    """The head nods by 15 degrees about the middle of the volume, on the same grid."""
    reference = case.reference
    angle = np.radians(_DEGREES)
    turn = np.eye(3)
    turn[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    axes = reference.affine[:3, :3]
    matrix = np.linalg.inv(axes) @ turn @ axes
    middle = (np.array(reference.array.shape) - 1) / 2

    def moved(array: np.ndarray) -> np.ndarray:
        values = array.astype(np.float32)
        return np.asarray(ndimage.affine_transform(values, matrix, middle - matrix @ middle, order=1))

    brain = moved(case.brain) >= 0.5
    images = {
        name: replace(image, array=np.where(brain, moved(image.array), 0).astype(np.float32))
        for name, image in case.images.items()
    }
    return replace(case, images=images, brain=brain, truth=None if case.truth is None else moved(case.truth) >= 0.5)


def noisy(image: Image, brain: BoolVolume) -> Image:
    """Rician noise."""
    draw = np.random.default_rng(0).normal(0, _NOISE * np.median(image.array[brain]), (2, *brain.shape))
    return replace(image, array=np.where(brain, np.hypot(image.array + draw[0], draw[1]), 0).astype(np.float32))


def blurred(image: Image, brain: BoolVolume) -> Image:
    smooth = ndimage.gaussian_filter(image.array.astype(np.float32), [_BLUR_MM / side for side in image.spacing])
    return replace(image, array=np.where(brain, smooth, 0).astype(np.float32))


def curved(image: Image, brain: BoolVolume) -> Image:
    """Another curve of intensities, as of another sequence of the same contrast."""
    top = image.array.max()
    return replace(image, array=np.where(brain, top * (image.array / top).clip(0) ** _GAMMA, 0).astype(np.float32))


CHANGES: dict[str, Change] = {
    "as it is": lambda case: case,
    "slices of 5 mm": thick_slices,
    "turned by 15 degrees": turned,
    "noise": on_images(noisy),
    "blurred": on_images(blurred),
    "gamma 0.7": on_images(curved),
    "bias field": on_images(lambda image, brain: corrupt(image, brain, Artefact("bias_field"))),
}


if __name__ == "__main__":
    main()
