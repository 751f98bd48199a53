"""The subcommand `evaluate` on the command line; torch is not loaded until it runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.options import add_settings
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.settings import about
from IterMask3DLib.methods.request_options import add_request_options, request_from

_DATA = (
    "data folder: ixi/ (BIDS, participants.tsv with a column split), stroke_shapes/ (MNI masks), open_ms/ (labelled), "
    "and where there are ds002748/ (a second scanner) and tumours/ (labelled, thresholds are chosen on them)"
)
_WHOLE_OF_IT = (
    "Writes a table of figures with 95 % intervals as OUT/table.html, .csv, .json and .md, and every case in "
    "OUT/cases.csv. Run again, it goes on where it stopped. Several processes: torchrun --nproc-per-node N -m "
    "IterMask3DLib.cli evaluate …"
)
SECTIONS = ("healthy", "strokes", "artefacts", "labelled", "tumours")
"""What the table of `evaluate all` is of; the first three are made of healthy brains."""
_OWN = (
    "model",
    "skull_stripping",
    "save_iterations",
    "dicom_seg",
    "out",
    "autoencoder",
    "brains",
    "scanner",
    "sections",
    "data",
    "folder",
    "modality",
)


def add_evaluate(commands: Any, words: Sequence[str] = ()) -> None:
    """Adds `evaluate` to the subparsers of the command line."""
    parser = commands.add_parser("evaluate", help="measure models beside baselines", description=_WHOLE_OF_IT)
    protocols = parser.add_subparsers(dest="protocol", required=True, metavar="PROTOCOL")
    whole = protocols.add_parser("all", help="synthetic and labelled cases of a data folder: the whole table")
    synthetic = protocols.add_parser("synthetic", help="strokes, artefacts and nothing put into healthy brains")
    labelled = protocols.add_parser("labelled", help="volumes with labels")
    trained = protocols.add_parser("autoencoder", help="train the auto-encoder that is compared with, or go on with it")
    for one in (whole, synthetic, trained):
        one.add_argument("data", type=Path, metavar="DATA", help=_DATA)
    for one in (whole, synthetic):
        one.add_argument("--brains", type=_count, metavar="N", help="only N test brains a scanner (default: all)")
        one.add_argument("--scanner", metavar="NAME", help="only brains of one cohort, ixi or ds002748")
        sections = SECTIONS if one is whole else SECTIONS[:3]
        parts = ", ".join(sections)
        one.add_argument("--sections", nargs="+", choices=sections, metavar="NAME", help=f"only these of {parts}")
    labelled.add_argument("folder", type=Path, metavar="FOLDER", help="volumes and *_lesions.nii.gz, BIDS or flat")
    labelled.add_argument("--data", type=Path, metavar="DATA", help=f"adds the baselines, from the {_DATA}")
    labelled.add_argument("--modality", metavar="NAME", help="ending of volumes' names (default: the models' inputs)")
    for one in (whole, synthetic, labelled):
        _add_run_options(one)
    trained.add_argument("-o", "--out", required=True, type=Path, metavar="FOLDER", help="folder of the training")
    trained.add_argument("--steps", type=_count, metavar="N", help="of the training (default: the method's)")
    add_settings(trained, Request, leave_out=[name for name in about(Request) if name != "device"])


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--out", required=True, type=Path, metavar="OUT", help="folder of the table and all cases"
    )
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME|FOLDER",
        help="model to evaluate (default: the bundled one); several, each a line",
    )
    parser.add_argument(
        "--autoencoder",
        type=Path,
        metavar="FOLDER",
        help="model to compare with (default: OUT/autoencoder, trained first)",
    )
    add_request_options(parser, _OWN)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


def run_evaluate(options: argparse.Namespace) -> int:
    """Does what the parsed command line asks; returns the exit code. Raises `UserError`."""
    if find_spec("pandas") is None:
        raise UserError("The package pandas is missing; run: pip install itermask3d[evaluate]")
    request = None if options.protocol == "autoencoder" else request_from(options, "evaluate", _OWN)
    from IterMask3DLib.evaluation import command

    return command.train_autoencoder(options) if request is None else command.evaluate(options, request)
