"""Whether the fast quality finds what every sweep pass finds: Dice of the two anomalies on healthy validation brains and on lesions in them.

    python -m benchmarks.agreement DATA [--brains N]

DATA as of `itermask3d evaluate`; the lesions are those that thresholds are tuned on, never those that are reported. Twice: with the recipe of the
bundled model, and with the threshold chosen by gamma on the curve, as published.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from IterMask3DLib.core.card import Scoring
from IterMask3DLib.models.store import Model, find_model, load_model
from IterMask3DLib.core.image import BoolVolume
from IterMask3DLib.evaluation.protocols import Trial, calibration_trials, healthy_trials, read_cohort
from IterMask3DLib.methods.itermask3d.loop import refine, result_of
from IterMask3DLib.run import Request, study


def dice(one: BoolVolume, other: BoolVolume) -> float:
    both = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / both if both else 1.0


def agreement(trials: list[Trial], model: Model) -> list[float]:
    """Dice of fast and full on each trial; where neither finds anything they agree."""
    values = []
    for trial in trials:
        loaded = trial.load()
        masks = []
        for quality in ("fast", "full"):
            made = study(loaded.volume, model, Request(quality=quality))
            masks.append(result_of(refine(made.case, made.runner, made.settings)).mask)
        values.append(dice(*masks))
        print(f"{trial.name}: {masks[1].sum()} voxels, Dice {values[-1]:.4f}", flush=True)
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--brains", type=int, help="only the first N validation brains")
    options = parser.parse_args()
    brains = read_cohort(options.data / "ixi").val[: options.brains]
    trials = healthy_trials(brains) + calibration_trials(brains, options.data / "stroke_shapes", 0)
    bundled = load_model(find_model(None))
    by_gamma = replace(bundled, card=replace(bundled.card, scoring=Scoring(), gamma=0.1), healthy_error=None)
    for title, model in (("the model's own recipe", bundled), ("plain scoring, threshold by gamma 0.1", by_gamma)):
        values = agreement(trials, model)
        print(f"## {title}: {len(values)} volumes, mean Dice {np.mean(values):.4f}, worst {min(values):.4f}")


if __name__ == "__main__":
    main()
