"""The stand-in host: real MRML from the `slicer-core` wheel, and a strict facade of Slicer's Qt layer.

`start_scene` and `clear_scene` give tests a scene; `Testing.slicer_host.views` renders it. Only `screenshot` knows
about IterMask3D.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Testing.slicer_host.scene import HostApplication

NEEDS_QT = "needs PySide6 and the libraries it draws with (pip install 'itermask3d[test]'; see the README)"
NEEDS_SLICER_CORE = "needs the wheel slicer-core (pip install 'itermask3d[test]')"


def has_qt() -> bool:
    """Whether Qt can be loaded, with the libraries of the system that it draws with."""
    try:
        import PySide6.QtWidgets  # noqa: F401
    except ImportError:
        return False
    return True


def has_slicer_core() -> bool:
    """Whether the wheel that holds MRML is installed."""
    return importlib.util.find_spec("slicer") is not None and importlib.util.find_spec("slicer_core") is not None


def start_scene(application_class: type[HostApplication] | None = None) -> Any:
    """Installs `slicer.mrmlScene`, `slicer.app` and `slicer.modules`, once a process, and returns the application."""
    from Testing.slicer_host import scene

    return scene.start(application_class or scene.HostApplication)


def clear_scene() -> Any:
    """Closes the scene as a user does (observers hear it) and returns it."""
    from Testing.slicer_host import scene

    return scene.clear()
