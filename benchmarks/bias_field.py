"""What a bias field in a stripped scan does to the outline, and whether correcting it first would help.

    python -m benchmarks.bias_field DATA [--contrasts FLAIR]

Dice of the own mask of the bundled models (two noises) on `tumours/` in DATA: the scan as it is and with smooth fields
laid over it (random quadratic polynomials of place; standard deviation of their logarithm over the brain), each as a
run takes it and after N4. Beside it the same number of the field that N4 finds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from benchmarks.ablation import MODELS
from benchmarks.agreement import dice
from IterMask3DLib.core.geometry import polynomials
from IterMask3DLib.core.image import BoolVolume, Image
from IterMask3DLib.core.request import Request
from IterMask3DLib.evaluation.cases import LoadedCase, labelled_cases
from IterMask3DLib.evaluation.detectors import ModelDetector
from IterMask3DLib.evaluation.labelled import by_contrast, find_labelled
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.preprocessing.bias_field import without_bias_field
from IterMask3DLib.preprocessing.resampling import itk_image

SPREADS = (0.0, 0.15, 0.3)


def with_field(image: Image, brain: BoolVolume, spread: float, seed: int) -> Image:
    """The image times a smooth field."""
    terms = polynomials(np.argwhere(brain), brain.shape, 2)[:, 1:]
    logarithm = terms @ np.random.default_rng(seed).standard_normal(terms.shape[1])
    array = image.array.astype(np.float32)
    array[brain] *= np.exp((logarithm - logarithm.mean()) * (spread / logarithm.std()))
    return replace(image, array=array)


def corrected(image: Image, brain: BoolVolume) -> tuple[Image, float]:
    """The image after N4, and the standard deviation of the field's logarithm."""
    given: NDArray[np.float32] = np.where(brain, image.array, 0).astype(np.float32)
    found = without_bias_field(itk_image(given, image.affine), itk_image(brain.astype(np.uint8), image.affine))
    array = np.where(brain, sitk.GetArrayFromImage(found).T, 0)
    field = np.log((given[brain] + 1) / np.maximum(array[brain], 1e-6))
    return replace(image, array=array), float(field.std())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--contrasts", nargs="+", choices=tuple(MODELS), default=tuple(MODELS))
    options = parser.parse_args()
    for case in labelled_cases(by_contrast(find_labelled(options.data / "tumours", options.contrasts))):
        (channel,) = case.channels
        detector = ModelDetector(load_model(find_model(MODELS[channel])), Request(settings={"noises": 2}))
        loaded = case.load()
        for number, spread in enumerate(SPREADS):
            image = with_field(loaded.reference, loaded.brain, spread, number)
            flat, found = corrected(image, loaded.brain)
            plain, after = (_own(detector, replace(loaded, images={channel: each})) for each in (image, flat))
            print(
                f"{case.name}, field {spread:g}: Dice {plain:.2f}; after N4 {after:.2f}, field {found:.2f}", flush=True
            )


def _own(detector: ModelDetector, case: LoadedCase) -> float:
    assert case.truth is not None
    return dice(np.asarray(detector.detect(case).mask) & case.brain, case.truth & case.brain)


if __name__ == "__main__":
    main()
