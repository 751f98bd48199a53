"""Trains on stripped volumes and packs the result into a model folder.

python -m IterMask3DLib.training train DATA RUN --steps 2200   trains, or goes on from RUN/checkpoint.pt
python -m IterMask3DLib.training pack DATA RUN MODEL           chooses gamma on the "val" volumes and writes MODEL/

DATA is a BIDS folder of skull-stripped T1w volumes on 2 mm voxels whose participants.tsv has a column "split" (train, val).
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from IterMask3DLib.training.pack import pack
from IterMask3DLib.training.train import Settings, train

_IXI = {
    "data": "IXI data set (https://brain-development.org/ixi-dataset/), 140 healthy adults, T1w, one 3 T scanner (Hammersmith), "
    "2 mm skull-stripped version as distributed with NiChart_Project",
    "licence": "CC BY-SA 3.0; these weights are derived from the data and carry its terms",
    "attribution": "Model trained on the IXI data set (brain-development.org), CC BY-SA 3.0",
}


def split(data: Path, name: str) -> list[Path]:
    """T1w volumes of the BIDS folder `data` whose `split` in `participants.tsv` is `name`, in the order of the table."""
    with (data / "participants.tsv").open(encoding="utf-8") as table:
        subjects = [row["participant_id"] for row in csv.DictReader(table, delimiter="\t") if row["split"] == name]
    return [data / subject / "anat" / f"{subject}_T1w.nii.gz" for subject in subjects]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m IterMask3DLib.training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    packing = commands.add_parser("pack")
    for each in (training, packing):
        each.add_argument("data", type=Path, help="BIDS folder of stripped 2 mm T1w volumes with participants.tsv")
        each.add_argument("run", type=Path, help="folder of the checkpoint and the log")
    training.add_argument("--steps", type=int, default=Settings.steps)
    training.add_argument("--seed", type=int, default=Settings.seed)
    packing.add_argument("model", type=Path, help="model folder to write; its name is the model's")
    packing.add_argument("--note", default="", help="how the run was made, for the card")
    options = parser.parse_args()
    if options.command == "train":
        settings = Settings(steps=options.steps, seed=options.seed)
        train(split(options.data, "train"), split(options.data, "val"), options.run, settings)
        return
    command = f"python -m IterMask3DLib.training train IXI RUN; python -m IterMask3DLib.training pack IXI RUN {options.model.name}"
    describe = {"name": options.model.name, "title": "Healthy adult brain, T1w, 2 mm", "modality": "T1w"}
    training_facts = {**_IXI, "subjects": len(split(options.data, "train")), "command": command, "note": options.note}
    card = pack(options.run / "checkpoint.pt", split(options.data, "val"), options.model, {**describe, "training": training_facts})
    print(card.to_json())


if __name__ == "__main__":
    main()
