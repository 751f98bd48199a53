"""The subcommand `evaluate` on the command line; torch is not loaded until it runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

_DATA = "data folder: ixi/ (BIDS, participants.tsv with a column split), stroke_shapes/ (masks in MNI space), open_ms/ (labelled volumes)"


def add_evaluate(commands: Any) -> None:
    """Adds `evaluate` to the subparsers of the command line."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a model beside baselines",
        description="Writes a table of figures with 95 % intervals as OUT/table.html, .csv, .json and .md, and every case in OUT/cases.csv. Run again, it "
        "goes on where it stopped. Several processes: torchrun --nproc-per-node N -m IterMask3DLib.cli evaluate …",
    )
    protocols = parser.add_subparsers(dest="protocol", required=True, metavar="PROTOCOL")
    whole = protocols.add_parser("all", help="synthetic and labelled cases of a data folder: the whole table")
    synthetic = protocols.add_parser("synthetic", help="strokes and artefacts put into healthy brains, and the healthy brains")
    for one in (whole, synthetic):
        one.add_argument("data", type=Path, metavar="DATA", help=_DATA)
        one.add_argument("--brains", type=_count, metavar="N", help="only the first N test brains, for a quick look (default: all)")
    labelled = protocols.add_parser("labelled", help="volumes with labels")
    labelled.add_argument("folder", type=Path, metavar="FOLDER", help="volumes and labels (*_lesions.nii.gz and the like), BIDS or flat")
    labelled.add_argument("--data", type=Path, metavar="DATA", help=f"adds the baselines, made from the {_DATA}")
    labelled.add_argument("--modality", metavar="NAME", help="ending of the volumes' names (default: the model's modality)")
    for one in (whole, synthetic, labelled):
        _add_run_options(one)
    trained = protocols.add_parser(
        "autoencoder", help="train the auto-encoder that is compared with; run again, it goes on where it stopped"
    )
    trained.add_argument("data", type=Path, metavar="DATA", help=_DATA)
    trained.add_argument("-o", "--out", required=True, type=Path, metavar="FOLDER", help="folder for its weights")
    trained.add_argument("--steps", type=_count, metavar="N", help="training steps of two volumes (default: 2400)")


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="OUT", help="folder for the table and the results of single cases")
    parser.add_argument("--model", metavar="NAME|FOLDER", help="model to evaluate (default: the bundled one)")
    parser.add_argument(
        "--autoencoder", type=Path, metavar="FOLDER", help="trained auto-encoder (default: OUT/autoencoder, trained there first)"
    )
    parser.add_argument("--device", choices=("auto", "cuda", "mps", "cpu"), default="auto")
    parser.add_argument("--backend", choices=("auto", "pytorch", "openvino"), default="auto", help="what executes the network on the CPU")
    parser.add_argument("--quality", choices=("auto", "fast", "full", "published"), default="auto", help="as of `segment`")
    parser.add_argument("--gamma", type=float, help="slope of the threshold curve at the chosen point (default: the model's)")
    parser.add_argument("--seed", type=int, default=0, help="of the cases, the noise and the bootstrap (default: 0)")


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


def run_evaluate(options: argparse.Namespace) -> int:
    """Does what the parsed command line asks; returns the exit code. Raises `UserError`."""
    from IterMask3DLib.evaluation import command

    return command.train_autoencoder(options) if options.protocol == "autoencoder" else command.evaluate(options)
