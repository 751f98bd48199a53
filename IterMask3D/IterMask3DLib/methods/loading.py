"""Models together with their methods: read, verified, installed."""

from __future__ import annotations

from pathlib import Path

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.models.catalogue import read_card
from IterMask3DLib.models.store import Model, install_model, read_model
from IterMask3DLib.preprocessing.intensity import scale_named


def load_model(folder: Path) -> Model:
    """Reads a model folder. Raises `UserError` with the first thing that is wrong: card, settings, files or tensors."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a model folder.")
    card = read_card(folder)
    spec = find_method(card.method)
    spec.settings(card)
    method = spec.load()
    # After the method, which may have a scale of its own.
    scale_named(card.intensity)
    return read_model(folder, card, method)


def install(source: Path, *, overwrite: bool = False) -> Path:
    """Copies a model folder or zip file into the user's folder after verifying it; returns the new folder."""
    return install_model(source, lambda folder: load_model(folder).card, overwrite)
