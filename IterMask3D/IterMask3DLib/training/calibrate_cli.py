"""The subcommand `calibrate` on the command line; torch is not loaded until it runs."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from IterMask3DLib.core.contrast import CONTRASTS
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.options import add_settings, flag, given_settings, words_of
from IterMask3DLib.core.settings import changed, check_counted
from IterMask3DLib.methods.base import MethodSpec
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.models.catalogue import find_model, read_card
from IterMask3DLib.training.cli import add_cohort

_ON_CARD = ("name", "title", "intensity", "contrast")


def add_calibrate(commands: Any, arguments: Sequence[str] = ()) -> None:
    """Adds `calibrate` to the subparsers of the command line.

    Args:
        arguments: the words of the command line: the method of the model among them decides which options there are.
    """
    parser = commands.add_parser(
        "calibrate",
        help="choose a model's threshold on healthy volumes",
        description="Copies MODEL to the model folder OUT, with the settings that fit the healthy volumes of DATA: "
        "what is normal is measured on those for training, and a threshold is chosen on those for validation. What "
        "this adds to the paper stands on the card; `segment --quality published` leaves it out.",
    )
    parser.add_argument("model", metavar="MODEL", help="name or folder of a model")
    add_cohort(parser, "each counts alike", "nowhere")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="OUT", help="model folder to write")
    parser.add_argument("--name", default="", help="of the new model, on its card (default: as it was)")
    parser.add_argument("--title", default="", help="likewise")
    parser.add_argument("--intensity", default="", metavar="SCALE", help="likewise, name of its intensity scale")
    parser.add_argument(
        "--about",
        action="append",
        default=[],
        type=_text,
        metavar="NAME=TEXT",
        help="a text for its card, e.g. data, licence, attribution; an empty one takes what was there away",
    )
    parser.add_argument(
        "--contrast",
        default="",
        choices=CONTRASTS,
        help="the new model's input: healthy volumes of this contrast are drawn from those of DATA, which are T1w",
    )
    parser.add_argument(
        "--brains", type=int, metavar="N", help="training volumes of each DATA at the most (default: all)"
    )
    parser.add_argument(
        "--patients",
        type=Path,
        metavar="DIR",
        help="scans of the model's own input with labelled lesions (*_lesions.nii.gz): what is farther than 10 mm from "
        "every lesion counts as one more healthy cohort for the threshold",
    )
    spec = _method_among(arguments)
    if spec is not None and spec.CalibrationSettings is not None:
        add_settings(parser.add_argument_group(f"calibration of {spec.title}"), spec.CalibrationSettings)


def _text(given: str) -> tuple[str, str]:
    name, sign, text = given.partition("=")
    if not (name and sign):
        raise argparse.ArgumentTypeError(f"{given} is not NAME=TEXT, e.g. licence=CC0")
    return name, text


def _method_among(arguments: Sequence[str]) -> MethodSpec | None:
    """The method of the first model that the words of a command line name; without one, that of the default model."""
    for word in (*(word for word in arguments[1:] if not word.startswith("-")), None):
        # What is wrong about a model is said when it is read for good.
        with suppress(UserError, OSError):
            return find_method(read_card(find_model(word)).method)
    return None


def run_calibrate(parsed: argparse.Namespace) -> int:
    """Does what the parsed command line asks; returns the exit code. Raises `UserError`."""
    from IterMask3DLib.runtime.distributed import current_rank
    from IterMask3DLib.training.calibrate import CalibrationRequest, NewCard, calibrate

    settings: Any = None
    before = read_card(find_model(parsed.model))
    kind = find_method(before.method).CalibrationSettings
    words = _words(parsed)
    if kind is not None:
        given = given_settings(parsed, kind)
        settings = changed(kind(), given, "itermask3d calibrate")
        check_counted(settings, given, "itermask3d calibrate")
        words += words_of(settings, kind())
    request = CalibrationRequest(
        parsed.model,
        tuple(parsed.data),
        parsed.out,
        settings,
        shlex.join(words),
        NewCard(**{name: getattr(parsed, name) for name in _ON_CARD}, about=dict(parsed.about)),
        parsed.brains,
        parsed.patients,
        parsed.brain_masks,
        parsed.cache,
        parsed.device,
        parsed.split,
    )
    card = calibrate(request, lambda text: print(text, file=sys.stderr, flush=True))
    if current_rank().is_first:
        found = "".join(
            f", {name} {value}" for name, value in card.settings.items() if before.settings.get(name) != value
        )
        print(f"{parsed.out}: model {card.name}{found}, sha256 {card.sha256}")
    return 0


def _words(parsed: argparse.Namespace) -> list[str]:
    """The words of the command but those of the method's own settings; folders and files by name alone."""
    data = [folder.resolve().name for folder in parsed.data]
    words = ["itermask3d", "calibrate", Path(parsed.model).name, *data, "-o", parsed.out.resolve().name]
    for name in (*_ON_CARD, "brains"):
        if getattr(parsed, name):
            words += [flag(name), str(getattr(parsed, name))]
    for name in ("patients", "split"):
        path = getattr(parsed, name)
        if path is not None:
            words += [flag(name), path.resolve().name]
    return words
