"""Which models there are on this machine, read from their cards alone, so that torch is not needed to list them."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from IterMask3DLib.core.card import CARD_FILE, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import read_plain, reason
from IterMask3DLib.core.resources import resource

DEFAULT_MODEL = "t1w"
BUNDLED, INSTALLED, PATH = "bundled", "installed", "path"
_HOLDS = f"; a model folder holds {CARD_FILE} and its weights"


@dataclass(frozen=True)
class ModelEntry:
    """A model folder.

    Attributes:
        origin: bundled, installed or path.
        card: None where it cannot be used; problem: why, in a sentence.
    """

    name: str
    folder: Path
    origin: str
    card: ModelCard | None
    problem: str | None = None


def user_folder() -> Path | None:
    """Where models are installed; None while the package that knows the place is missing, or there is no home."""
    try:
        import platformdirs

        return platformdirs.user_data_path("itermask3d") / "models"
    except (ImportError, RuntimeError):
        return None


def list_models(extra: Path | None = None) -> list[ModelEntry]:
    """Bundled models, the default first, then installed ones, then those of a folder.

    Args:
        extra: the folder: a model, or a folder of some.
    """
    bundled = sorted(_folders(resource("Models")), key=lambda folder: (folder.name != DEFAULT_MODEL, folder.name))
    found = [(folder, BUNDLED) for folder in bundled]
    found += [(folder, INSTALLED) for folder in _folders(user_folder())]
    if extra is not None:
        if not extra.is_dir():
            raise UserError(f"{extra} is not a folder.")
        found += [(folder, PATH) for folder in ([extra] if (extra / CARD_FILE).exists() else _folders(extra))]
    return [entry(folder, origin) for folder, origin in found]


def entry(folder: Path, origin: str) -> ModelEntry:
    """A model folder as its card describes it, once its files were found to be those of the card."""
    try:
        card = read_card(folder)
        for name, digest in card.files.items():
            verified_bytes(folder / name, digest)
        return ModelEntry(folder.name, folder, origin, card)
    except UserError as error:
        return ModelEntry(folder.name, folder, origin, None, str(error))


def clear_installed() -> int:
    """Removes every installed model; returns how many there were. Raises `UserError` where the disk refuses."""
    installed = _folders(user_folder())
    try:
        for folder in installed:
            shutil.rmtree(folder)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be removed ({reason(error)}).") from None
    return len(installed)


def find_model(name: str | None) -> Path:
    """The folder of a model: the default one (None), a bundled or installed one by name, or a folder as it is given."""
    wanted = DEFAULT_MODEL if name is None else name
    if not wanted.strip():
        raise UserError("The name of a model is empty; see `itermask3d models list`.")
    if Path(wanted).name == wanted != "..":
        places = [resource("Models") / wanted]
        installed = user_folder()
        places += [installed / wanted] if installed is not None else []
        for place in places:
            if _is_folder(place):
                return place
    if _is_folder(wanted):
        return Path(wanted)
    raise UserError(f"Model {wanted} is neither bundled, installed, nor a folder; see `itermask3d models list`.")


def model_for(contrast: str) -> ModelEntry | None:
    """The first usable model, bundled before installed, whose only input is of a contrast; None where there is none."""
    return next((each for each in list_models() if each.card is not None and each.card.inputs == (contrast,)), None)


def find_entry(name: str | None) -> ModelEntry | None:
    """The model of a name or folder; None where there is none."""
    try:
        folder = find_model(name)
    except UserError:
        return None
    origins = {resource("Models"): BUNDLED, user_folder(): INSTALLED}
    return entry(folder, origins.get(folder.parent, PATH))


def read_card(folder: Path) -> ModelCard:
    """The card of a model folder. Raises `UserError`."""
    path = folder / CARD_FILE
    return ModelCard.from_json(read_plain(path, _HOLDS).decode("utf-8", errors="replace"), str(path))


def verified_bytes(path: Path, digest: str) -> bytes:
    """A file of a model. Raises `UserError` where it is not the one with the SHA-256 of the card."""
    data = read_plain(path, _HOLDS)
    if hashlib.sha256(data).hexdigest() != digest:
        raise UserError(
            f"{path} does not have the checksum of its card; it is damaged or was changed: install the model again."
        )
    return data


def _folders(root: Path | None) -> list[Path]:
    if root is None or not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _is_folder(name: str | Path) -> bool:
    # A name with a null byte or of absurd length is no folder, and no traceback either.
    return os.path.isdir(name)  # noqa: PTH112
