"""How much the outcome of a run depends on its seed: Dice and volumes of the anomaly over several seeds.

python -m benchmarks.seeds                      the bundled brain with the bundled model, five seeds
python -m benchmarks.seeds SCAN... --model NAME --seeds 10
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.agreement import dice
from IterMask3DLib.core.image import Case
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.core.result import ANOMALY
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.run import finish, run_case


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="*", type=Path, metavar="SCAN", help="(default: the bundled brain)")
    parser.add_argument("--model", help="name or folder (default: the bundled one)")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="(default: 5)")
    options = parser.parse_args()
    model = load_model(find_model(options.model))
    for scan in options.scans or [sample_volume()]:
        case, masks = Case.of(read_image(scan)), []
        for seed in range(options.seeds):
            result = finish(run_case(case, model, Request(seed=seed)))
            masks.append(np.asarray(result.array(ANOMALY)))
        volumes = [mask.sum() * case.reference.voxel_ml for mask in masks]
        agreed = [dice(one, other) for one, other in combinations(masks, 2)]
        agreement = f"Dice between seeds {np.mean(agreed):.3f}, worst {min(agreed):.3f}"
        spread = f"anomaly {np.mean(volumes):.2f} ml, {min(volumes):.2f} to {max(volumes):.2f}"
        print(f"{case.name}, model {model.card.name}: {agreement}; {spread}", flush=True)


if __name__ == "__main__":
    main()
