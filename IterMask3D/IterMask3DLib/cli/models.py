"""The subcommands `models` and `convert`."""

from __future__ import annotations

import argparse
from pathlib import Path

from IterMask3DLib.core.card import CARD_FILE
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.failures import one_line
from IterMask3DLib.core.options import given_settings
from IterMask3DLib.core.settings import changed
from IterMask3DLib.models.catalogue import find_model, list_models


def models(parsed: argparse.Namespace) -> int:
    """Lists, shows, verifies or installs models. Raises `UserError`."""
    if parsed.action == "list":
        return _list(parsed.folder)
    if parsed.action == "show":
        print((find_model(parsed.model) / CARD_FILE).read_bytes().decode("utf-8", errors="replace").strip())
        return 0
    # Here, so that what needs no torch answers at once.
    from IterMask3DLib.methods.loading import install, load_model

    if parsed.action == "install":
        print(install(parsed.source, overwrite=parsed.overwrite))
    else:
        card = load_model(find_model(parsed.model)).card
        print(f"{card.name}: the card, the checksums and the tensors are right.")
    return 0


def convert(parsed: argparse.Namespace) -> int:
    """Turns checkpoints of published code into a model folder. Raises `UserError`."""
    from IterMask3DLib.methods.base import Convertible
    from IterMask3DLib.methods.registry import find_method

    spec = find_method(parsed.method)
    method = spec.load()
    if not isinstance(method, Convertible):
        raise UserError(f"{spec.title} has no published checkpoints that could be converted.")
    options = {name: getattr(parsed, name) for name in ("inputs", "spacing", "shape") if hasattr(parsed, name)}
    if spec.ConversionSettings is not None:
        given = given_settings(parsed, spec.ConversionSettings)
        changed(spec.ConversionSettings(), given, "itermask3d convert")
        options |= given
    card = method.convert(parsed.checkpoint, parsed.out, options)
    print(f"{parsed.out}: model {card.name}, sha256 {card.sha256}")
    return 0


def _list(folder: Path | None) -> int:
    problems = 0
    for entry in list_models(folder):
        problems += entry.problem is not None
        card = entry.card
        about = entry.problem or (f"{card.title} ({card.modality}, {card.grid.spacing:g} mm)" if card else "")
        print(f"{one_line(entry.name):20} {entry.origin:10} {one_line(about)}\n{'':20} {one_line(str(entry.folder))}")
    if problems:
        raise UserError(
            f"{problems} of these models cannot be used; install {'it' if problems == 1 else 'them'} again."
        )
    return 0
