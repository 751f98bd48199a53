"""Who asks: the stand-ins themselves may do what PySide6 can, everything else only what PythonQt lets Python do."""

from __future__ import annotations

import sys

_PACKAGE = __name__.rpartition(".")[0]
_PYTHON_LAYER = {f"{_PACKAGE}.{name}" for name in ("parameter_links", "parameter_nodes", "scripted_module")}
"""Stand-ins for Slicer's own Python code, which sees Qt through PythonQt as any other Python code does."""


def asked_from_outside(depth: int = 2) -> bool:
    """Whether the code that many frames up is not of the stand-ins."""
    name = str(sys._getframe(depth).f_globals.get("__name__", ""))
    return not name.startswith(_PACKAGE) or name in _PYTHON_LAYER
