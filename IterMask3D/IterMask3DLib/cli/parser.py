"""The words of the command `itermask3d`. Only what the subcommand at hand needs is imported, and never torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from IterMask3DLib import __version__
from IterMask3DLib.core.failures import one_line

_NOTICE = "Research software, not a medical device: not for diagnosis or treatment."
OWN_OPTIONS = ("input", "channel", "out", "brain_mask", "overwrite")
"""Options of `segment` and `demo` that are no choices of a run."""

_CONVERTED = "itermask3d"

Subparsers = Any  # argparse has no public name for it.
LogFolder = Callable[[argparse.Namespace], Path]
Add = Callable[[Subparsers, str, Sequence[str]], None]
"""Adds a subcommand to the others, with its line of help, for the words of a command line."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, whatever the words hold."""

    def error(self, message: str) -> NoReturn:
        super().error(one_line(message))


def parse(words: Sequence[str]) -> argparse.Namespace:
    """What a command line asks for; leaves through argparse where it asks for help or nothing that can be done.

    Returns:
        Beside the options `load(parsed)`, which imports what the command needs and returns it as a function without
        arguments, and, for a command that writes, `log_folder(parsed)`, where its log file belongs.
    """
    parser = build_parser(words)
    parsed = parser.parse_args(words)
    if hasattr(parsed, "check"):
        parsed.check(parsed)
    return parsed


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of a command line. Of other subcommands than the one it names there is one line of help alone."""
    description = f"Finds what a network of healthy brains cannot explain in a brain MRI. {_NOTICE}"
    parser = _Parser(prog="itermask3d", description=description)
    parser.add_argument("--version", action="version", version=f"itermask3d {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    wanted = next((word for word in words if not word.startswith("-")), None)
    for name, (text, add) in _COMMANDS.items():
        if name == wanted:
            add(commands, text, words)
        else:
            commands.add_parser(name, help=text)
    return parser


def _add_segment(commands: Subparsers, text: str, words: Sequence[str]) -> None:
    parser = commands.add_parser("segment", help=text, description="Segments each INPUT and writes OUT/<case>/.")
    parser.add_argument("input", nargs="*", metavar="INPUT", help="NIfTI, NRRD or MetaImage file, or a DICOM folder")
    parser.add_argument(
        "--input",
        dest="channel",
        action="append",
        default=[],
        type=_channel,
        metavar="CHANNEL=FILE",
        help="another image of the (single) case, for a model with several input channels, e.g. T2w=scan.nii.gz",
    )
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="OUT", help="folder for the results")
    parser.add_argument("--brain-mask", type=Path, metavar="FILE", help="brain mask on the grid of the (single) input")
    _add_run(parser)
    parser.set_defaults(check=partial(_check_segment, parser))


def _check_segment(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    names = [name for name, _ in parsed.channel]
    if not parsed.input and not names:
        parser.error("give INPUT files, or --input CHANNEL=FILE for each channel of one case")
    if names and len(parsed.input) > 1:
        parser.error("--input belongs to a single case; give at most one INPUT with it")
    if len(set(names)) < len(names):
        parser.error("each channel can be given once")
    if parsed.brain_mask and len(parsed.input) > 1:
        parser.error("--brain-mask belongs to a single INPUT")


def _add_demo(commands: Subparsers, text: str, words: Sequence[str]) -> None:
    parser = commands.add_parser("demo", help=text)
    help_text = "folder for the results (default: demo)"
    parser.add_argument("-o", "--out", type=Path, default=Path("demo"), metavar="OUT", help=help_text)
    _add_run(parser)


def _add_run(parser: argparse.ArgumentParser) -> None:
    from IterMask3DLib.methods.request_options import add_request_options

    parser.add_argument("--overwrite", action="store_true", help="replace results that are already there")
    add_request_options(parser, OWN_OPTIONS)
    work = partial(_load, "IterMask3DLib.cli.segment", "segment")
    parser.set_defaults(load=work, log_folder=lambda parsed: parsed.out)


def _add_models(commands: Subparsers, text: str, words: Sequence[str]) -> None:
    parser = commands.add_parser("models", help=text)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    one = actions.add_parser("list", help="list bundled and installed models")
    one.add_argument("folder", nargs="?", type=Path, help="another folder of models to look into")
    for name, told in (
        ("show", "print the card of a model"),
        ("verify", "check a model's card, checksums and tensors"),
    ):
        one = actions.add_parser(name, help=told)
        one.add_argument("model", nargs="?", help="name or folder (default: the bundled one)")
    one = actions.add_parser("install", help="copy a model folder or zip file into the user's folder")
    one.add_argument("source", type=Path, help="model folder or zip file")
    one.add_argument("--overwrite", action="store_true", help="replace an installed model of the same name")
    parser.set_defaults(load=partial(_load, "IterMask3DLib.cli.models", "models"))


def _add_convert(commands: Subparsers, text: str, words: Sequence[str]) -> None:
    from IterMask3DLib.core.options import add_settings, found_among
    from IterMask3DLib.methods.registry import method_specs

    parser = commands.add_parser("convert", help=text)
    parser.add_argument("checkpoint", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument(
        "-o", "--out", required=True, type=Path, metavar="FOLDER", help="model folder to write; its name is the model's"
    )
    parser.add_argument("--method", choices=tuple(method_specs()), default=_CONVERTED, help=f"(default: {_CONVERTED})")
    given = {"default": argparse.SUPPRESS}
    parser.add_argument(
        "--modality",
        dest="inputs",
        nargs="+",
        default=("FLAIR",),
        metavar="NAME",
        help="input channels (default: FLAIR, as published)",
    )
    parser.add_argument("--spacing", type=float, metavar="MM", help="of the grid (default: as published)", **given)
    parser.add_argument(
        "--shape", type=int, nargs="+", metavar="N", help="of the grid (default: as published)", **given
    )
    spec = method_specs().get(found_among(words, "method").get("method", _CONVERTED))
    if spec is not None and spec.ConversionSettings is not None:
        add_settings(parser.add_argument_group(f"conversion to {spec.title}"), spec.ConversionSettings)
    # A model folder holds a model alone, so the log lies beside it.
    parser.set_defaults(
        load=partial(_load, "IterMask3DLib.cli.models", "convert"),
        log_folder=lambda parsed: parsed.out.absolute().parent,
    )


def _add_serve(commands: Subparsers, text: str, words: Sequence[str]) -> None:
    # `main` hands over to it before anything is parsed; here it has its help.
    commands.add_parser("serve", help=text, description=f"Runs the engine for a program that speaks to it: {text}.")


def _hook(module: str, add: str, run: str, log_folder: LogFolder) -> Add:
    """A subcommand of another package, which is imported when it is asked for."""

    def add_hook(commands: Subparsers, text: str, words: Sequence[str]) -> None:
        before = set(commands.choices)
        getattr(import_module(module), add)(commands, words)
        (name,) = set(commands.choices) - before
        commands.choices[name].set_defaults(load=partial(_load, module, run), log_folder=log_folder)

    return add_hook


def _load(module: str, run: str, parsed: argparse.Namespace) -> Callable[[], int]:
    return partial(getattr(import_module(module), run), parsed)


def _channel(text: str) -> tuple[str, Path]:
    name, sign, path = text.partition("=")
    if not (name and sign and path):
        raise argparse.ArgumentTypeError(f"{text} is not CHANNEL=FILE, e.g. T2w=scan.nii.gz")
    return name, Path(path)


_COMMANDS: dict[str, tuple[str, Add]] = {
    "segment": ("segment volumes", _add_segment),
    "demo": ("segment the bundled brain with the bundled model", _add_demo),
    "models": ("list, show, verify or install models", _add_models),
    "convert": ("turn checkpoints of a method's published code into a model folder", _add_convert),
    "train": (
        "train a model on healthy volumes",
        _hook("IterMask3DLib.training.cli", "add_train", "run_train", lambda parsed: parsed.out),
    ),
    "calibrate": (
        "choose a model's threshold on healthy volumes",
        _hook(
            "IterMask3DLib.training.calibrate_cli",
            "add_calibrate",
            "run_calibrate",
            lambda parsed: parsed.out.absolute().parent,
        ),
    ),
    "evaluate": (
        "measure models beside baselines",
        _hook("IterMask3DLib.evaluation.cli", "add_evaluate", "run_evaluate", lambda parsed: parsed.out),
    ),
    "serve": ("work for a Slicer panel: speaks its protocol over stdin and stdout", _add_serve),
}
