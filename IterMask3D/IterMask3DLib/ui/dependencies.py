"""Installs what the engine needs, once the user asked: torch by the PyTorch extension, the rest by Slicer itself."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import slicer
from slicer.i18n import tr as _

TORCH = ">=2.2"
OPENVINO = "openvino>=2024.4"


class InstallError(Exception):
    """Why the installation failed, in a sentence for the user."""


def requirements(file: Path) -> list[str]:
    """The lines of a requirements file that name a package."""
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def wanted(missing: Sequence[str], file: Path) -> list[str]:
    """Requirements, with their minimum versions, of the packages that are missing; torch first."""
    known = {re.split(r"[<>=!~ ]", line)[0].lower(): line for line in (*requirements(file), OPENVINO)}
    others = [known[name.lower()] for name in missing if name.lower() in known]
    return [f"torch{TORCH}", *others] if "torch" in missing else others


def install(missing: Sequence[str], file: Path, say: Callable[[str], None]) -> None:
    """Installs the missing packages, blocking; `say` hears what is being done. Raises `InstallError`."""
    others = [line for line in wanted(missing, file) if not line.startswith("torch")]
    if "torch" in missing:
        say(_("Installing PyTorch; this can take many minutes…"))
        _install_torch()
    if others:
        say(_("Installing {packages}…").format(packages=", ".join(others)))
        _install_others(others)
    importlib.invalidate_caches()


def _install_torch() -> None:
    try:
        import PyTorchUtils
    except ImportError:
        raise InstallError(
            _(
                "PyTorch comes with the extension PyTorch, which is not installed: add it in the Extensions Manager "
                "and start Slicer again."
            )
        ) from None
    try:
        torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=TORCH)
    except Exception as error:  # It fails in as many ways as there are networks and disks; the reason is what helps.
        raise InstallError(_("PyTorch could not be installed: {reason}").format(reason=error)) from error
    if torch is None:
        raise InstallError(_("PyTorch was not installed; the log of Slicer says why."))


def _install_others(packages: list[str]) -> None:
    try:
        packaging = importlib.import_module("slicer.packaging")
    except ImportError:
        packaging = None  # Slicer before 5.11
    try:
        if packaging is not None:
            packaging.pip_ensure(packages, prompt_install=False, requester="IterMask3D")
        else:
            slicer.util.pip_install(["--prefer-binary", *packages])
    except Exception as error:  # As above.
        raise InstallError(
            _("{packages} could not be installed: {reason}").format(packages=", ".join(packages), reason=error)
        ) from error
