"""Whether the fast quality finds what every sweep pass finds: Dice of the two on healthy brains and on lesions.

    python -m benchmarks.agreement DATA [--brains N]

DATA as of `itermask3d evaluate`; the brains are those of validation, the lesions those that thresholds are tuned on,
never those that are reported. Twice: with the settings of the bundled model, and with the threshold chosen by gamma on
the curve, as published.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from IterMask3DLib.core.image import BoolVolume
from IterMask3DLib.core.request import Request
from IterMask3DLib.evaluation.cases import EvaluationCase, calibration_cases, healthy_cases, read_cohort
from IterMask3DLib.evaluation.detectors import ModelDetector
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.models.store import Model

BY_GAMMA = {
    "gamma": 0.1,
    "smoothing_mm": 0.0,
    "normative_error": False,
    "median_multiple": None,
    "region_growing": None,
}


def dice(one: BoolVolume, other: BoolVolume) -> float:
    both = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / both if both else 1.0


def agreement(cases: Sequence[EvaluationCase], model: Model, settings: Mapping[str, Any]) -> list[float]:
    """Dice of fast and full on each case; where neither finds anything they agree."""
    detectors = [ModelDetector(model, Request(quality=quality, settings=settings)) for quality in ("fast", "full")]
    values = []
    for case in cases:
        loaded = case.load()
        masks = [np.asarray(detector.detect(loaded).mask) for detector in detectors]
        values.append(dice(*masks))
        print(f"{case.name}: {masks[1].sum()} voxels, Dice {values[-1]:.4f}", flush=True)
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--brains", type=int, help="only the first N validation brains")
    options = parser.parse_args()
    brains = read_cohort(options.data / "ixi")["val"][: options.brains]
    cases = healthy_cases(brains) + calibration_cases(brains, options.data / "stroke_shapes", 0)
    model = load_model(find_model("t1w-2mm"))
    for title, settings in (("the model's own settings", {}), ("plain scoring, threshold by gamma 0.1", BY_GAMMA)):
        values = agreement(cases, model, settings)
        print(f"## {title}: {len(values)} volumes, mean Dice {np.mean(values):.4f}, worst {min(values):.4f}")


if __name__ == "__main__":
    main()
