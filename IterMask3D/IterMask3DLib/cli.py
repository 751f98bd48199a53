"""The command `itermask3d`: its parser, and the one door for errors."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from IterMask3DLib import __version__
from IterMask3DLib.core.failures import explained
from IterMask3DLib.evaluation.cli import add_evaluate
from IterMask3DLib.methods.registry import method_specs
from IterMask3DLib.methods.request_options import add_request_options
from IterMask3DLib.training.calibrate_cli import add_calibrate
from IterMask3DLib.training.cli import add_train

_NOTICE = "Research software, not a medical device: not for diagnosis or treatment."
OWN = ("input", "channel", "out", "brain_mask", "overwrite")
"""Options of `segment` and `demo` that are no choices of a run."""


def build_parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The command line as one parser with a subcommand for each thing it does."""
    description = f"Finds what a network of healthy brains cannot explain in a brain MRI. {_NOTICE}"
    parser = argparse.ArgumentParser(prog="itermask3d", description=description)
    parser.add_argument("--version", action="version", version=f"itermask3d {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_segment(commands)
    _add_models(commands)
    _add_convert(commands)
    add_train(commands, arguments)
    add_calibrate(commands, arguments)
    add_evaluate(commands)
    commands.add_parser("serve", help="work for a Slicer panel: speaks its protocol over stdin and stdout")
    return parser


def _add_segment(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    one = commands.add_parser(
        "segment", help="segment volumes", description="Segments each INPUT and writes OUT/<case>/."
    )
    one.add_argument("input", nargs="*", metavar="INPUT", help="NIfTI, NRRD or MetaImage file, or a DICOM folder")
    one.add_argument(
        "--input",
        dest="channel",
        action="append",
        default=[],
        type=_channel,
        metavar="CHANNEL=FILE",
        help="one image of a case with several input channels, e.g. T2w=scan.nii.gz; repeat it for each",
    )
    one.add_argument("-o", "--out", required=True, type=Path, metavar="OUT", help="folder for the results")
    one.add_argument("--brain-mask", type=Path, metavar="FILE", help="brain mask on the grid of the (single) input")
    demo = commands.add_parser("demo", help="segment the bundled brain with the bundled model")
    demo.add_argument(
        "-o", "--out", type=Path, default=Path("demo"), metavar="OUT", help="folder for the results (default: demo)"
    )
    for parser in (one, demo):
        parser.add_argument("--overwrite", action="store_true", help="replace results that are already there")
        add_request_options(parser, OWN)


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    models = commands.add_parser("models", help="list, show, verify or install models")
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list bundled and installed models")
    listing.add_argument("folder", nargs="?", type=Path, help="another folder of models to look into")
    show = actions.add_parser("show", help="print the card of a model")
    show.add_argument("model", nargs="?", help="name or folder (default: the bundled one)")
    verify = actions.add_parser("verify", help="check a model's card, checksums and tensors")
    verify.add_argument("model", nargs="?", help="name or folder")
    install = actions.add_parser("install", help="copy a model folder or zip file into the user's folder")
    install.add_argument("source", type=Path, help="model folder or zip file")
    install.add_argument("--overwrite", action="store_true", help="replace an installed model of the same name")


def _add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    convert = commands.add_parser("convert", help="turn checkpoints of a method's published code into a model folder")
    convert.add_argument("checkpoint", nargs="+", type=Path, metavar="CHECKPOINT")
    convert.add_argument(
        "-o", "--out", required=True, type=Path, metavar="FOLDER", help="model folder to write; its name is the model's"
    )
    convert.add_argument("--method", choices=tuple(method_specs()), default="itermask3d", help="(default: itermask3d)")
    convert.add_argument(
        "--modality", nargs="+", default=["FLAIR"], metavar="NAME", help="input channels (default: FLAIR, as published)"
    )
    convert.add_argument("--spacing", type=float, default=1.0, metavar="MM", help="(default: 1, as published)")
    convert.add_argument(
        "--shape", type=int, nargs="+", default=(192, 192, 192), metavar="N", help="voxels (default: 192 192 192)"
    )
    convert.add_argument("--gamma", type=float, default=0.05, help="(default: 0.05)")


def _channel(text: str) -> tuple[str, Path]:
    name, sign, path = text.partition("=")
    if not (name and sign and path):
        raise argparse.ArgumentTypeError(f"{text} is not CHANNEL=FILE, e.g. T2w=scan.nii.gz")
    return name, Path(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0 when done, 1 after an `error: …` line; usage errors leave through argparse with 2."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return _guarded(lambda: _run(words))
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was written for the case at hand.")


def _run(words: Sequence[str]) -> int:
    parser = build_parser(words)
    parsed = parser.parse_args(words)
    if parsed.command == "segment":
        if bool(parsed.input) == bool(parsed.channel):
            parser.error("give INPUT files, or --input CHANNEL=FILE for each channel of one case")
        if parsed.brain_mask and len(parsed.input) > 1:
            parser.error("--brain-mask belongs to a single INPUT")
        names = [name for name, _ in parsed.channel]
        if len(set(names)) < len(names):
            parser.error("each channel can be given once")
    if parsed.command == "serve":
        from IterMask3DLib.serve import main as serve

        return int(serve() or 0)
    for stream in (sys.stdout, sys.stderr):
        # A name or a sign the terminal cannot show must not end the run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # Imported here, so that --help and usage errors answer at once.
    from IterMask3DLib import commands

    return commands.run(parsed)


def _guarded(run: Callable[[], int]) -> int:
    """Runs a command; whatever goes wrong is one line, and a reader that went away is no error to tell."""
    try:
        code = run()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Python flushes once more at its end, which would fail again.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _fail(explained(error, Path.cwd()))


def _fail(sentence: str) -> int:
    with suppress(OSError, ValueError, AttributeError):
        print(f"error: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
