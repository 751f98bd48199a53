"""Qt's event loop as the application runs it: while it waits, Python waits too.

Slicer starts Qt's event loop from C++ and neither Slicer, nor the CTK, nor PythonQt ever gives up Python's lock (the
GIL) for it. A Python thread in the background therefore runs only while Python code of the main thread runs, such as
the slot of a timer, or while such code does something that gives up the lock (`time.sleep`, reading a file, many
functions of numpy and torch). PySide6 is kinder: it gives up the lock whenever it enters Qt, so that a panel that
starves its worker in the application would run well here. `process_events` keeps the lock; with ITERMASK3D_HOLD_GIL=0,
and where Qt's library is not found under its Linux name, it is PySide6's own.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import PySide6
from PySide6 import QtCore

VARIABLE = "ITERMASK3D_HOLD_GIL"
_LIBRARY = Path(PySide6.__file__).parent / "Qt" / "lib" / "libQt6Core.so.6"
_SYMBOL = "_ZN16QCoreApplication13processEventsE6QFlagsIN10QEventLoop17ProcessEventsFlagEE"
"""QCoreApplication::processEvents(QFlags<QEventLoop::ProcessEventsFlag>)"""
_WAIT = QtCore.QEventLoop.ProcessEventsFlag.WaitForMoreEvents
_ALL = QtCore.QEventLoop.ProcessEventsFlag.AllEvents
_with_lock_given_up = QtCore.QCoreApplication.processEvents


def holds_gil() -> bool:
    """Whether the event loop keeps Python's lock, as the application's does."""
    return os.environ.get(VARIABLE, "1") != "0" and _from_library() is not None


def process_events(wait: bool = False) -> None:
    """Handles the events that are there; with `wait`, sleeps until there is one. Other threads starve meanwhile."""
    _process(_WAIT if wait else _ALL)


def install() -> None:
    """Makes every way that Python has into the event loop the application's."""
    QtCore.QCoreApplication.processEvents = staticmethod(_of_application)  # type: ignore[method-assign, assignment]
    QtCore.QEventLoop.processEvents = _of_loop  # type: ignore[method-assign, assignment]


@cache
def _from_library() -> Callable[[int], None] | None:
    if not _LIBRARY.is_file():
        return None
    # A CDLL would give up the lock for the call; a PyDLL does not.
    function: Any = getattr(ctypes.PyDLL(str(_LIBRARY)), _SYMBOL)
    function.argtypes, function.restype = [ctypes.c_int], None
    return function  # type: ignore[no-any-return]


def _process(flags: Any) -> None:
    function = _from_library()
    if function is not None and holds_gil():
        function(int(flags.value))
    else:
        _with_lock_given_up(flags)


def _of_application(flags: Any = _ALL, *_most_ms: int) -> None:
    _process(flags)


def _of_loop(self: QtCore.QEventLoop, flags: Any = _ALL, *_most_ms: int) -> bool:
    _process(flags)
    return True
