"""The subcommand `train` on the command line and in a YAML file; torch is not loaded until it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import read_plain
from IterMask3DLib.core.options import add_settings, found_among, given_settings
from IterMask3DLib.core.progress import clock
from IterMask3DLib.core.request import DEVICES
from IterMask3DLib.methods.base import MethodSpec
from IterMask3DLib.methods.registry import find_method, method_specs
from IterMask3DLib.training.options import DEFAULT_METHOD, PRESETS, TrainingOptions, preset_options, training_options

if TYPE_CHECKING:
    from IterMask3DLib.training.monitor import TrainingProgress


def add_train(commands: Any, arguments: Sequence[str] = ()) -> None:
    """Adds `train` to the subparsers of the command line.

    Args:
        arguments: the words of the command line: the method among them decides which options there are.
    """
    parser = commands.add_parser(
        "train",
        help="train a model on healthy volumes",
        description="Trains on the healthy volumes in DATA and writes the model folder RUN/model. Run again, it goes "
        "on where it stopped. Several processes: torchrun --nproc-per-node N -m IterMask3DLib.cli train DATA -o RUN …",
    )
    add_cohort(parser, "as many volumes are drawn from each", "RUN/cache")
    parser.add_argument(
        "-o", "--out", required=True, type=Path, metavar="RUN", help="folder of the run, and of the model in the end"
    )
    trainable = [spec.name for spec in method_specs().values() if spec.TrainingSettings is not None]
    parser.add_argument("--method", choices=trainable, help=f"what is trained (default: {DEFAULT_METHOD})")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML file of options, named as below with _ for -; the line wins"
    )
    parser.add_argument("--preset", choices=PRESETS, help="values of all options that are not given")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes that make batches (default: as many as help)"
    )
    spec = _method_among(arguments)
    usual = preset_options(spec, "default")
    leave_out = () if spec.dimensions == 2 else ("slice_spacing",)
    lengths = {"shape": spec.dimensions}
    add_settings(parser.add_argument_group("training"), TrainingOptions, usual, leave_out, lengths)
    add_settings(parser.add_argument_group(f"training of {spec.title}"), spec.TrainingSettings)


def add_cohort(parser: argparse.ArgumentParser, several: str, cache: str) -> None:
    """Adds what says which healthy volumes there are, and where they are prepared.

    Args:
        several: what is done with several folders of them; cache: where prepared ones are kept where nobody says it.
    """
    kinds = "BIDS or flat; stripped, with masks, or heads"
    text = f"folder of healthy volumes, {kinds}; of several, one a scanner, {several}"
    parser.add_argument("data", type=Path, nargs="+", metavar="DATA", help=text)
    parser.add_argument("--brain-masks", type=Path, metavar="FOLDER", help="brain masks, named like the volumes")
    text = "table of participant_id and split (train, val; others are left out), asked before that of DATA"
    parser.add_argument("--split", type=Path, metavar="TSV", help=text)
    text = f"where prepared volumes are kept (default: {cache})"
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help=text)
    parser.add_argument("--device", choices=DEVICES, default="auto")


def _method_among(arguments: Sequence[str]) -> MethodSpec:
    """The method that the words of a command line name, or their YAML file; the default where none of it learns."""
    found = found_among(arguments, "method", "config")
    # What is wrong about them is said when they are parsed for good.
    with suppress(UserError):
        name = found.get("method") or (_read_yaml(Path(found["config"])).get("method") if "config" in found else None)
        if name is not None and find_method(str(name)).TrainingSettings is not None:
            return find_method(str(name))
    return find_method(DEFAULT_METHOD)


def run_train(parsed: argparse.Namespace) -> int:
    """Does what the parsed command line asks; returns the exit code. Raises `UserError`."""
    given = {} if parsed.config is None else _read_yaml(parsed.config)
    method = parsed.method or given.get("method", DEFAULT_METHOD)
    spec = find_method(str(method))
    typed = given_settings(parsed, TrainingOptions) | given_settings(parsed, spec.TrainingSettings)
    # What is typed wins over the file, also where it says the same thing in another unit.
    for one, other in (("steps", "epochs"), ("epochs", "steps")):
        if one in typed and other not in typed:
            given.pop(other, None)
    preset = parsed.preset or given.get("preset", "default")
    options = training_options(
        spec.name, {**given, **typed, "preset": preset}, str(parsed.config or "itermask3d train")
    )
    if parsed.workers is not None and parsed.workers < 1:
        raise UserError(f"--workers is {parsed.workers}; it must be at least 1.")
    from IterMask3DLib.runtime.distributed import current_rank
    from IterMask3DLib.training.run import TrainingRequest, train

    request = TrainingRequest(
        tuple(parsed.data),
        parsed.out,
        options,
        preset,
        parsed.brain_masks,
        parsed.cache,
        parsed.device,
        parsed.workers,
        parsed.split,
    )
    screen = _Screen()
    try:
        card = train(request, screen)
    finally:
        screen.close()
    if current_rank().is_first:
        settings = "".join(f", {name} {value}" for name, value in card.settings.items())
        print(f"{parsed.out / 'model'}: model {card.name}{settings}, sha256 {card.sha256}")
    return 0


class _Screen:
    """Writes what a training says to the standard error stream; on a terminal its progress is one line that changes."""

    def __init__(self) -> None:
        self._changing = False

    def __call__(self, event: str | TrainingProgress) -> None:
        live = sys.stderr.isatty()
        if isinstance(event, str):
            self._write(event, "\n")
        else:
            self._write(_line(event), "\n" if not live or event.step == event.total else "")

    def close(self) -> None:
        """Ends a line that was still changing."""
        if self._changing:
            sys.stderr.write("\n")

    def _write(self, line: str, end: str) -> None:
        sys.stderr.write(f"{chr(13) + chr(27) + '[K' if self._changing else ''}{line}{end}")
        sys.stderr.flush()
        self._changing = not end


def _line(done: TrainingProgress) -> str:
    errors = " / ".join(f"{error:.4f} {kind.replace('_', ' ')}" for kind, error in done.validation.items())
    validation = f", validation {errors}" if errors else ""
    pace = f"{done.steps_per_second:.2f} steps/s, waiting for data {done.data_wait_share:.0%}"
    return (
        f"step {done.step} of {done.total}: loss {done.loss:.4f}{validation}, {pace}, {clock(done.seconds_left)} left"
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise UserError("Reading a YAML file needs PyYAML: pip install itermask3d[train].") from None
    text = read_plain(path)
    try:
        given = yaml.safe_load(text.decode("utf-8"))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML ({' '.join(str(error).split())}).") from None
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
        raise UserError(f"{path} must hold options by name, one a line, e.g. 'steps: 6000'.")
    return given
