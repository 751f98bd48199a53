"""The command `itermask3d`."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from IterMask3DLib import __version__
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.evaluation.cli import add_evaluate
from IterMask3DLib.training.calibrate_cli import add_calibrate
from IterMask3DLib.training.cli import add_train

_NOTICE = "Research software, not a medical device: not for diagnosis or treatment."


def build_parser() -> argparse.ArgumentParser:
    """The command line as one parser with a subcommand for each thing it does."""
    parser = argparse.ArgumentParser(
        prog="itermask3d", description=f"Finds what a network of healthy brains cannot explain in a brain MRI. {_NOTICE}"
    )
    parser.add_argument("--version", action="version", version=f"itermask3d {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    one = commands.add_parser("segment", help="segment volumes", description="Segments each INPUT and writes OUT/<case>/.")
    one.add_argument("input", nargs="+", metavar="INPUT", help="NIfTI, NRRD or MetaImage file, or a DICOM folder")
    one.add_argument("-o", "--out", required=True, type=Path, metavar="OUT", help="folder for the results")
    one.add_argument("--brain-mask", metavar="FILE", help="brain mask on the grid of the (single) input")
    _add_run_options(one)

    demo = commands.add_parser("demo", help="segment the bundled brain with the bundled model")
    demo.add_argument("-o", "--out", type=Path, default=Path("demo"), metavar="OUT", help="folder for the results (default: demo)")
    _add_run_options(demo)

    models = commands.add_parser("models", help="list, show, verify or install models").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    models.add_parser("list", help="list bundled and installed models").add_argument(
        "folder", nargs="?", type=Path, help="another folder of models to look into"
    )
    models.add_parser("show", help="print the card of a model").add_argument(
        "model", nargs="?", help="name or folder (default: the bundled one)"
    )
    models.add_parser("verify", help="check a model's card, checksum and tensors").add_argument("model", nargs="?", help="name or folder")
    install = models.add_parser("install", help="copy a model folder or zip file into the user's folder")
    install.add_argument("source", type=Path, help="model folder or zip file")
    install.add_argument("--overwrite", action="store_true", help="replace an installed model of the same name")

    convert = commands.add_parser("convert", help="turn a checkpoint of the published code into a model folder")
    convert.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    convert.add_argument("-o", "--out", required=True, type=Path, metavar="FOLDER", help="model folder to write; its name is the model's")
    convert.add_argument("--modality", default="FLAIR", help="what the network was trained on (default: FLAIR, as published)")
    convert.add_argument("--spacing", type=float, default=1.0, help="mm (default: 1, as published)")
    convert.add_argument("--shape", type=int, nargs=3, default=(192, 192, 192), metavar="N", help="voxels (default: 192 192 192)")
    convert.add_argument("--gamma", type=float, default=0.05)

    add_train(commands)
    add_calibrate(commands)
    add_evaluate(commands)
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME|FOLDER", help="model to use (default: the bundled one)")
    parser.add_argument("--device", choices=("auto", "cuda", "mps", "cpu"), default="auto")
    parser.add_argument("--backend", choices=("auto", "pytorch", "openvino"), default="auto", help="what executes the network on the CPU")
    parser.add_argument(
        "--quality",
        choices=("auto", "fast", "full", "published"),
        default="auto",
        help="fast: the sweep passes that decide; full: every pass; published: every pass, and nothing that goes beyond the paper; "
        "auto: full where gamma chooses the threshold, else fast (default: auto)",
    )
    parser.add_argument("--gamma", type=_positive, help="slope of the threshold curve at the chosen point (default: the model's)")
    parser.add_argument("--start", choices=("brain", "best"), default="brain", help="mask the shrink phase begins with (default: brain)")
    parser.add_argument("--seed", type=_natural, default=0, help="of the noise (default: 0)")
    parser.add_argument("--save-iterations", action="store_true", help="also write the mask of every iteration")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are already there")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0 when done and 1 after an `error: …` line; usage errors leave through argparse with 2."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command == "segment" and options.brain_mask and len(options.input) > 1:
        parser.error("--brain-mask belongs to a single INPUT")
    for stream in (sys.stdout, sys.stderr):
        # A name or a sign the terminal cannot show must not end the run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # Imported here, so that --help and usage errors answer at once.
    from IterMask3DLib import commands

    try:
        return commands.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("error: interrupted; nothing was written for the case at hand.", file=sys.stderr)
    except OSError as error:
        print(f"error: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
