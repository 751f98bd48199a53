"""The models of this machine, read from their cards alone, so that the panel can list them before torch is installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.resources import resource
from IterMask3DLib.scene.records import ModelInfo
from IterMask3DLib.scene.words import tr as _

DEFAULT = "t1w-2mm"
_CARD = "card.json"


def listModels() -> list[ModelInfo]:
    """Bundled models, the default first, then installed ones; each is verified when a run reads it."""
    bundled = sorted(_folders(resource("Models")), key=lambda folder: (folder.name != DEFAULT, folder.name))
    return [modelInfo(folder, "bundled") for folder in bundled] + [modelInfo(folder, "installed") for folder in _folders(userFolder())]


def findModel(name: str | None) -> ModelInfo | None:
    """The model of a name, or of a folder as it is given; None where there is none."""
    wanted = name or DEFAULT
    found = next((model for model in listModels() if model.name == wanted), None)
    if found is None and (Path(wanted) / _CARD).is_file():
        return modelInfo(Path(wanted), "path")
    return found


def modelInfo(folder: Path, origin: str) -> ModelInfo:
    """A model as its card describes it; `problem` says what is wrong with a card that does not."""
    try:
        card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
        training = card["training"]
        return ModelInfo(
            name=folder.name,
            title=str(card["title"]),
            modality=str(card["modality"]),
            folder=folder,
            origin=origin,
            gamma=float(card["gamma"]),
            passes=int(card["thresholds"]["passes"]),
            spacing=float(card["grid"]["spacing"]),
            training=_text(training, "data"),
            licence=_text(training, "licence"),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = _("{path} cannot be read ({error}); install the model again.").format(path=folder / _CARD, error=error)
        return ModelInfo(folder.name, folder.name, "", folder, origin, 0.0, 0, 0.0, "", "", problem)


def userFolder() -> Path | None:
    """Where models are installed; None while the package that knows the place is missing."""
    try:
        import platformdirs
    except ImportError:
        return None
    return platformdirs.user_data_path("itermask3d") / "models"


def installModel(source: Path, overwrite: bool) -> ModelInfo:
    """Verifies a model folder or zip file and copies it to the user's folder. Raises `UserError`."""
    try:
        from IterMask3DLib.models.store import install
    except ImportError as error:
        raise UserError(
            _("The Python package {name} is missing; install the packages IterMask3D needs first.").format(name=error.name)
        ) from None
    return modelInfo(install(source, overwrite=overwrite), "installed")


def clearModels() -> int:
    """Removes every installed model; returns how many there were. Raises `UserError` where the disk refuses."""
    folder = userFolder()
    installed = _folders(folder)
    try:
        for each in installed:
            shutil.rmtree(each)
    except OSError as error:
        raise UserError(_("{path} cannot be removed ({reason}).").format(path=error.filename, reason=error.strerror)) from None
    return len(installed)


def _folders(root: Path | None) -> list[Path]:
    if root is None or not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _text(card: Mapping[str, Any], key: str) -> str:
    return str(card.get(key, ""))
