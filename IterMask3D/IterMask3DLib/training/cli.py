"""The subcommand `train` on the command line and in a YAML file; torch is not loaded until it runs."""

from __future__ import annotations

import argparse
from dataclasses import Field
from pathlib import Path
from typing import Any

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.training.recipe import OPTIONS, PRESETS, recipe_of

_RUN_KEYS = ("data", "out", "config", "preset", "brain_masks", "cache", "device", "workers", "command")


def add_train(commands: Any) -> None:
    """Adds `train` to the subparsers of the command line."""
    parser = commands.add_parser(
        "train",
        help="train a model on healthy volumes",
        description="Trains on the healthy volumes in DATA and writes the model folder RUN/model. Run again, it goes on where it stopped. "
        "Several processes: torchrun --nproc-per-node N -m IterMask3DLib.cli train DATA -o RUN …",
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of healthy volumes, BIDS or flat; stripped, with masks, or heads")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="RUN", help="folder of the run, and of the model in the end")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of options, named as below with _ for -; the line wins")
    parser.add_argument("--preset", choices=tuple(PRESETS), help="values of all options that are not given")
    parser.add_argument("--brain-masks", type=Path, metavar="FOLDER", help="brain masks, named like the volumes")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="where prepared volumes are kept (default: RUN/cache)")
    parser.add_argument("--device", choices=("auto", "cuda", "mps", "cpu"), default="auto")
    parser.add_argument("--workers", type=int, metavar="N", help="threads that make batches (default: as many as help)")
    recipe = parser.add_argument_group("recipe")
    for name, option in OPTIONS.items():
        recipe.add_argument(f"--{name.replace('_', '-')}", dest=name, help=_help(option), **_kind(option))


def _kind(option: Field[Any]) -> dict[str, Any]:
    kind = option.metadata["kind"]
    if kind == "choice":
        return {"choices": option.metadata["choices"]}
    if kind.startswith("counts"):
        return {"type": int, "nargs": int(kind.removeprefix("counts")), "metavar": "N"}
    if kind == "text":
        return {"metavar": "TEXT"}
    return {"type": int, "metavar": "N"} if kind == "count" else {"type": float, "metavar": "X"}


def _help(option: Field[Any]) -> str:
    usual = option.default
    if usual is None or usual == "":
        return str(option.metadata["help"])
    shown = " ".join(map(str, usual)) if isinstance(usual, tuple) else usual
    return f"{option.metadata['help']} (default: {shown})"


def run_train(options: argparse.Namespace) -> int:
    """Does what the parsed command line asks; returns the exit code. Raises `UserError`."""
    given = {} if options.config is None else _read_yaml(options.config)
    typed = {key: value for key, value in vars(options).items() if key not in _RUN_KEYS and value is not None}
    # What is typed wins over the file, also where it says the same thing in another unit.
    for one, other in (("steps", "epochs"), ("epochs", "steps")):
        if one in typed and other not in typed:
            given.pop(other, None)
    preset = options.preset or given.get("preset", "default")
    recipe = recipe_of({**given, **typed, "preset": preset}, str(options.config or "itermask3d train"))
    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers is {options.workers}; it must be at least 1.")
    from IterMask3DLib.runtime.distributed import position
    from IterMask3DLib.training.run import Order, train

    card = train(Order(options.data, options.out, recipe, preset, options.brain_masks, options.cache, options.device, options.workers))
    if position().rank == 0:
        print(f"{options.out / 'model'}: model {card.name}, gamma {card.gamma:g}, sha256 {card.sha256}")
    return 0


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise UserError("Reading a YAML file needs PyYAML: pip install itermask3d[train].") from None
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML ({' '.join(str(error).split())}).") from None
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
        raise UserError(f"{path} must hold options by name, one a line, e.g. 'steps: 6000'.")
    return given
