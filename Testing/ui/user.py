"""A user in front of the panel: clicks what can be clicked, and waits for what the panel says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore

from Testing.slicer_host.application import LoadedModule

PATIENCE_S = 60.0


class User:
    """Does with the panel what hands can do, and nothing else."""

    def __init__(self, module: LoadedModule) -> None:
        self.module = module
        self.widget = module.enter()

    @property
    def ui(self) -> Any:
        return self.widget.ui

    @property
    def session(self) -> Any:
        return self.widget.panel.session

    @property
    def nodes(self) -> Any:
        return self.session.nodes

    @property
    def logic(self) -> Any:
        return self.widget.logic

    @property
    def status(self) -> str:
        return str(self.ui.statusLabel.text)

    def can(self, name: str) -> bool:
        widget = getattr(self.ui, name)
        return bool(widget.enabled) and not widget.isHidden()

    def click(self, name: str) -> None:
        assert self.can(name), f"{name} cannot be clicked; the panel says: {self.status}"
        getattr(self.ui, name).click()

    def set(self, name: str, value: Any) -> None:
        """Moves a slider, types a number, or chooses an entry by its place."""
        widget = getattr(self.ui, name)
        assert self.can(name), f"{name} cannot be changed"
        if hasattr(widget, "currentIndex"):
            widget.currentIndex = value
        else:
            widget.value = value

    def until(self, reached: Callable[[], Any], what: str) -> None:
        """Lets the application run until something is so."""
        loop, end = QtCore.QEventLoop(), time.monotonic() + PATIENCE_S
        guard = QtCore.QTimer()
        guard.setInterval(20)
        guard.timeout.connect(lambda: None)
        guard.start()
        while not reached():
            assert time.monotonic() < end, f"{what} did not happen; the panel says: {self.status}"
            loop.processEvents(QtCore.QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
        guard.stop()

    def wait(self) -> None:
        """Until nothing is being computed."""
        self.until(lambda: not self.logic.busy, "the end of the run")

    def segment(self) -> None:
        """Presses Segment and waits for the result."""
        self.click("applyButton")
        assert self.ui.applyButton.text == "Cancel", self.status
        self.wait()

    def leave(self) -> None:
        """The application closes."""
        self.module.unload()
