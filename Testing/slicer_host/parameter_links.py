"""The bond between a parameter and the widget that shows it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from Testing.slicer_host.parameters import Parameter, WithinRange


class Link:
    """A parameter and the widget that shows it; each kind of parameter goes with certain classes of widget, exactly."""

    def __init__(self, widget: Any, parameter: Parameter) -> None:
        self.widget, self.parameter = widget, parameter
        kind = parameter.kinds[0]
        shape = "node" if parameter.is_node else "enum" if issubclass(kind, enum.Enum) else kind.__name__
        self.shape, self.signal, self.slot = shape, "", None
        accepted = _ACCEPTED.get((type(widget).__name__, shape))
        if accepted is None:
            raise RuntimeError(f"Unable to create GUI connector from {kind} to {type(widget).__name__}")
        self.signal = accepted
        self._prepare(kind)

    def _prepare(self, kind: type) -> None:
        limits = self.parameter.note(WithinRange)
        if type(self.widget).__name__ in ("ctkSliderWidget", "QSlider") and limits is None:
            raise RuntimeError(f"{self.parameter.name} is unbounded and cannot be shown by a slider")
        if self.shape in ("int", "float"):
            if kind is int and type(self.widget).__name__ == "ctkSliderWidget":
                self.widget.decimals = 0
            if limits is not None:
                self.widget.minimum, self.widget.maximum = limits.minimum, limits.maximum
        elif self.shape == "node":
            self.widget.nodeTypes = [kind.__name__ for kind in self.parameter.kinds]
        elif self.shape == "enum":
            self.widget.clear()
            for member in kind:  # type: ignore[attr-defined]
                self.widget.addItem(member.label() if hasattr(kind, "label") else member.name)

    def start(self, slot: Callable[..., None]) -> None:
        self.slot = slot
        getattr(self.widget, self.signal).connect(slot)

    def stop(self) -> None:
        getattr(self.widget, self.signal).disconnect(self.slot)

    def read(self) -> Any:
        if self.shape == "node":
            return self.widget.currentNode()
        if self.shape == "enum":
            return list(self.parameter.kinds[0])[self.widget.currentIndex]  # type: ignore[call-overload]
        if self.shape in ("int", "float"):
            return self.parameter.kinds[0](self.widget.value)
        return self.widget.checked if self.shape == "bool" else self.widget.text

    def write(self, value: Any) -> None:
        if self.shape == "node":
            self.widget.setCurrentNode(value)
        elif self.shape == "enum":
            self.widget.currentIndex = list(type(value)).index(value)
        elif self.shape in ("int", "float"):
            self.widget.value = value
        elif self.shape == "bool":
            self.widget.checked = value
        else:
            self.widget.text = value


_ACCEPTED = {
    ("QCheckBox", "bool"): "stateChanged",
    ("QPushButton", "bool"): "toggled",
    ("QSpinBox", "int"): "valueChanged",
    ("QSlider", "int"): "valueChanged",
    ("QDoubleSpinBox", "float"): "valueChanged",
    ("ctkSliderWidget", "float"): "valueChanged",
    ("ctkSliderWidget", "int"): "valueChanged",
    ("QComboBox", "enum"): "currentIndexChanged",
    ("QLineEdit", "str"): "textChanged",
    ("qMRMLNodeComboBox", "node"): "currentNodeChanged",
}
