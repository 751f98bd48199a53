"""`python -m IterMask3DLib.training DATA OUT`: trains on the volumes whose split is "train", watches those whose split is "val"."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from IterMask3DLib.training.train import Settings, train


def split(data: Path, name: str) -> list[Path]:
    """T1w volumes of the BIDS folder `data` whose `split` in `participants.tsv` is `name`, in the order of the table."""
    with (data / "participants.tsv").open() as table:
        subjects = [row["participant_id"] for row in csv.DictReader(table, delimiter="\t") if row["split"] == name]
    return [data / subject / "anat" / f"{subject}_T1w.nii.gz" for subject in subjects]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m IterMask3DLib.training", description=__doc__)
    parser.add_argument("data", type=Path, help="BIDS folder of stripped 2 mm T1w volumes with participants.tsv")
    parser.add_argument("out", type=Path, help="folder of the checkpoint and the log; an unfinished run there goes on")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--seed", type=int, default=Settings.seed)
    arguments = parser.parse_args()
    settings = Settings(steps=arguments.steps, seed=arguments.seed)
    train(split(arguments.data, "train"), split(arguments.data, "val"), arguments.out, settings)


if __name__ == "__main__":
    main()
