"""A user in front of the panel: clicks what can be clicked, and waits for what the panel says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore

from Testing.slicer_host.application import LoadedModule

PATIENCE_S = 300.0


class User:
    """Does with the panel what hands can do, and nothing else."""

    def __init__(self, module: LoadedModule) -> None:
        self.module = module
        self.widget = module.enter()

    @property
    def ui(self) -> Any:
        return self.widget.ui

    @property
    def panel(self) -> Any:
        return self.widget.panel

    @property
    def session(self) -> Any:
        return self.panel.session

    @property
    def nodes(self) -> Any:
        return self.session.nodes

    @property
    def logic(self) -> Any:
        return self.widget.logic

    @property
    def status(self) -> str:
        return str(self.ui.statusLabel.text)

    @property
    def log(self) -> str:
        return str(self.ui.logText.toPlainText())

    def can(self, name: str) -> bool:
        """Whether a control can be used: it and what it stands in are neither disabled nor hidden."""
        return self._usable(getattr(self.ui, name))

    def sees(self, name: str) -> bool:
        """Whether a section or a line of text is there."""
        return not getattr(self.ui, name).isHidden()

    def click(self, name: str) -> None:
        assert self.can(name), f"{name} cannot be clicked; the panel says: {self.status}"
        getattr(self.ui, name).click()

    def set(self, name: str, value: Any) -> None:
        """Moves a slider, types a number, or chooses an entry by its place."""
        assert self.can(name), f"{name} cannot be changed"
        _enter(getattr(self.ui, name), value)

    def choose(self, name: str, value: Any) -> None:
        """Sets one of the settings: a number, whether it is ticked, or the words of a choice."""
        forms = self.panel.advanced.general, self.panel.advanced.method, self.panel.advanced.usual
        form = next(form for form in forms if form.control(name))
        control = form.control(name)
        assert self._usable(control), f"{name} cannot be changed"
        if hasattr(control, "currentIndex"):
            value = [control.itemText(index).lower() for index in range(control.count)].index(value)
        _enter(control, value)

    def choose_model(self, name: str) -> None:
        """Chooses a model of the list by its name."""
        models = self.logic.description.models
        self.set("modelComboBox", [model["name"] for model in models].index(name))

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
        """Waits until the scene shows so many passes of the run, which is held there by a pause."""
        there = lambda: self.nodes is not None and len(self.nodes.steps) >= steps  # noqa: E731
        self.until(lambda: there() or not self.logic.busy, f"step {steps}")
        assert there(), f"the run ended before step {steps}; the panel says: {self.status}"
        self.logic.pause()

    def wait(self) -> None:
        """Until nothing is being computed; a run that is held goes on."""
        self.logic.unpause()
        self.until(lambda: not self.logic.busy, "the end of the run")

    def segment(self) -> None:
        """Presses Segment and waits for the result."""
        self.click("applyButton")
        assert self.ui.applyButton.text == "Cancel", self.status
        self.wait()
        assert not self.status.startswith("Problem"), self.log

    def leave(self) -> None:
        """The application closes."""
        self.module.unload()

    def _usable(self, widget: Any) -> bool:
        # A collapsed section is opened by a click; a hidden one is not there.
        return bool(widget.enabled) and not any(_hidden(each) for each in _upward(widget, self.module))


def _upward(widget: Any, module: LoadedModule) -> Any:
    top = module.widgetRepresentation()
    while widget is not None and widget is not top:
        yield widget
        widget = widget.parentWidget()


def _hidden(widget: Any) -> bool:
    above = widget.parentWidget()
    collapsed = above is not None and getattr(above, "collapsed", False)
    return bool(widget.isHidden()) and not collapsed


def _enter(widget: Any, value: Any) -> None:
    if hasattr(widget, "currentIndex"):
        widget.currentIndex = value
    elif hasattr(widget, "checked"):
        widget.checked = value
    else:
        widget.value = value
