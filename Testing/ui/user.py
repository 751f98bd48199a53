"""A user in front of the panel: clicks what can be clicked, and waits for what the panel says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore

from Testing.scene.fake_engine import FakeEngine
from Testing.slicer_host.application import LoadedModule

PATIENCE_S = 300.0
MANY = 1000
PASSES = 12


class GatedEngine(FakeEngine):
    """Does a pass whenever the user lets it: see `User.reach`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(gated=True, **options)


class User:
    """Does with the panel what hands can do, and nothing else."""

    def __init__(self, module: LoadedModule, engine: Any) -> None:
        self.module, self.engine = module, engine
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

    def reach(self, steps: int) -> None:
        """Lets a gated engine do so many passes, and waits until the scene shows them."""
        if isinstance(self.engine, GatedEngine):
            self.engine.allow(steps)
        self.until(lambda: self.nodes is not None and len(self.nodes.steps) >= steps, f"step {steps}")

    def wait(self) -> None:
        """Until nothing is being computed; a gated engine is let go."""
        self.letGo()
        self.until(lambda: not self.logic.busy, "the end of the run")

    def segment(self) -> None:
        """Presses Segment and waits for the result."""
        self.click("applyButton")
        assert self.ui.applyButton.text == "Cancel", self.status
        self.wait()

    def letGo(self) -> None:
        """A gated engine may do as many passes as it wants."""
        if isinstance(self.engine, GatedEngine):
            self.engine.allow(MANY)

    def fewPasses(self) -> None:
        """A short sweep; the card asks for 100 passes."""
        self.set("passesSpinBox", PASSES)

    def leave(self) -> None:
        """The application closes."""
        self.letGo()
        self.module.unload()
