"""The subcommand `calibrate` on the command line; torch is not loaded until it runs."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any


def add_calibrate(commands: Any) -> None:
    """Adds `calibrate` to the subparsers of the command line."""
    parser = commands.add_parser(
        "calibrate",
        help="choose a model's threshold on healthy volumes",
        description="Copies MODEL to the model folder OUT, with a table of the errors it makes in the healthy training volumes of DATA, and the "
        "threshold and gamma that leave little of the healthy validation volumes. What this adds to the paper stands on the card; "
        "`segment --quality published` leaves it out.",
    )
    parser.add_argument("model", metavar="MODEL", help="name or folder of a model")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of healthy volumes, as of `train`")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="OUT", help="model folder to write")
    parser.add_argument(
        "--smoothing-mm", type=_length, default=2.0, metavar="MM", help="standard deviation of the Gaussian over residuals (default: 2)"
    )
    parser.add_argument(
        "--regrow",
        type=_length,
        default=1.5,
        metavar="X",
        help="regions above X thresholds at first are found whole; 0: not (default: 1.5)",
    )
    parser.add_argument(
        "--limit",
        type=_share,
        default=0.0005,
        metavar="SHARE",
        help="mean share of a healthy brain that may be found anomalous (default: 0.0005)",
    )
    parser.add_argument("--brain-masks", type=Path, metavar="FOLDER", help="brain masks, named like the volumes")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="where prepared volumes are kept, as of `train` (default: nowhere)")
    parser.add_argument("--device", choices=("auto", "cuda", "mps", "cpu"), default="auto")


def run_calibrate(options: argparse.Namespace) -> int:
    """Does what the parsed command line asks; returns the exit code. Raises `UserError`."""
    from IterMask3DLib.training.calibrate import CalibrationOrder, calibrate

    words = ["itermask3d", "calibrate", Path(options.model).name, options.data.resolve().name, "-o", options.out.resolve().name]
    words += ["--smoothing-mm", f"{options.smoothing_mm:g}", "--regrow", f"{options.regrow:g}", "--limit", f"{options.limit:g}"]
    order = CalibrationOrder(
        model=options.model,
        data=options.data,
        out=options.out,
        smoothing_mm=options.smoothing_mm,
        regrow=options.regrow or None,
        limit=options.limit,
        command=shlex.join(words),
        masks=options.brain_masks,
        cache=options.cache,
        device=options.device,
    )
    card = calibrate(order, lambda text: print(text, file=sys.stderr, flush=True))
    print(
        f"{options.out}: model {card.name}, threshold {card.scoring.times_median:g} times the median, gamma {card.gamma:g}, sha256 {card.sha256}"
    )
    return 0


def _length(text: str) -> float:
    return _between(text, 0, 1000)


def _share(text: str) -> float:
    return _between(text, 0, 1)


def _between(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text} is not a number from {low:g} to {high:g}")
    return value
