"""Observers of MRML objects that go with the widget that holds them."""

from __future__ import annotations

import weakref
from typing import Any

import shiboken6
from PySide6 import QtWidgets


class Watch:
    """Observers that a widget holds on MRML objects: they never keep the widget alive and go when it goes."""

    def __init__(self, widget: QtWidgets.QWidget) -> None:
        self._widget = weakref.ref(widget)
        self._held: list[tuple[Any, int]] = []
        held = self._held
        widget.destroyed.connect(lambda *_: _release(held))

    def on(self, target: Any, events: tuple[Any, ...], method: str) -> None:
        """Calls the method of that name whenever one of the events is invoked."""
        known = self._widget

        def call(caller: Any, event: Any) -> None:
            widget = known()
            if widget is not None and shiboken6.isValid(widget):
                getattr(widget, method)()

        if target is not None:
            self._held.extend((target, target.AddObserver(event, call)) for event in events)

    def clear(self) -> None:
        _release(self._held)


def _release(held: list[tuple[Any, int]]) -> None:
    for target, tag in held:
        target.RemoveObserver(tag)
    held.clear()
