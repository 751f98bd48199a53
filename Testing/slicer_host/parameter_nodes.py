"""Stand-in for slicer.parameterNodeWrapper: the part of it that the panel uses, with the same ways of storing and of refusing.

Numbers, texts and truth values are kept as parameters of the node, enumerations by the names of their members, MRML nodes as references.
"""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
import vtk

NAME_PROPERTY = "SlicerParameterName"


@dataclass(frozen=True)
class WithinRange:
    """Refuses values outside minimum to maximum, both included."""

    minimum: float
    maximum: float


@dataclass(frozen=True)
class _Parameter:
    name: str
    kinds: tuple[type, ...]
    notes: tuple[Any, ...]
    default: Any

    @property
    def is_node(self) -> bool:
        return all(issubclass(kind, slicer.vtkMRMLNode) for kind in self.kinds)

    def note(self, kind: type) -> Any:
        return next((note for note in self.notes if isinstance(note, kind)), None)

    def check(self, value: Any) -> None:
        limits = self.note(WithinRange)
        if limits is not None and not limits.minimum <= value <= limits.maximum:
            raise ValueError(f"{self.name} must be between {limits.minimum} and {limits.maximum}, not {value}")

    def write(self, node: Any, value: Any) -> None:
        if self.is_node:
            if value is not None and not isinstance(value, self.kinds):
                raise TypeError(f"{self.name} takes no {type(value).__name__}")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            return
        (kind,) = self.kinds
        if not isinstance(value, kind) and not (kind is float and isinstance(value, int)):
            raise TypeError(f"{self.name} takes {kind.__name__}, not {value!r}")
        self.check(value)
        node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))

    def read(self, node: Any) -> Any:
        if self.is_node:
            return node.GetNodeReference(self.name)
        (kind,) = self.kinds
        if not node.HasParameter(self.name):
            self.write(node, self.default)
        text = node.GetParameter(self.name)
        if issubclass(kind, enum.Enum):
            return kind[text]
        return text == "True" if kind is bool else kind(text)


def _parameter(cls: type, name: str, annotation: Any) -> _Parameter:
    notes: tuple[Any, ...] = ()
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, *found = typing.get_args(annotation)
        notes = tuple(found)
    kinds: tuple[Any, ...] = (annotation,)
    if typing.get_origin(annotation) is typing.Union:
        kinds = tuple(kind for kind in typing.get_args(annotation) if kind is not type(None))
        if len(kinds) == len(typing.get_args(annotation)):
            raise TypeError(f"{name}: a union of nodes must allow None")
    if all(issubclass(kind, slicer.vtkMRMLNode) for kind in kinds):
        return _Parameter(name, kinds, notes, None)
    (kind,) = kinds
    if not issubclass(kind, (bool, int, float, str, enum.Enum)):
        raise TypeError(f"there is no way to store {name} of type {annotation}")
    default = getattr(cls, name) if hasattr(cls, name) else next(iter(kind)) if issubclass(kind, enum.Enum) else kind()
    return _Parameter(name, kinds, notes, default)


class _Wrapper:
    """What a wrapped class can do besides its parameters."""

    allParameters: typing.ClassVar[dict[str, _Parameter]] = {}

    def __init__(self, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._guis: dict[int, tuple[dict[str, _Link], int]] = {}
        self._next = 0
        self._showing = False
        for parameter in self.allParameters.values():
            parameter.read(parameterNode)

    def getValue(self, name: str) -> Any:
        return self.allParameters[name].read(self.parameterNode)

    def setValue(self, name: str, value: Any) -> None:
        self.allParameters[name].write(self.parameterNode, value)

    def connectGui(self, gui: Any) -> int:
        widgets = {widget.property(NAME_PROPERTY): widget for widget in vars(gui).values() if widget.property(NAME_PROPERTY)}
        unknown = set(widgets) - set(self.allParameters)
        if unknown:
            raise ValueError(f"there are no parameters {sorted(unknown)}")
        links = {name: _Link(widget, self.allParameters[name]) for name, widget in widgets.items()}
        for name, link in links.items():
            link.write(self.getValue(name))
            link.start(self._reader(name, link))
        tag = self._next
        self._next += 1
        self._guis[tag] = (links, self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._show(links)))
        return tag

    def disconnectGui(self, tag: int | None) -> None:
        if tag in self._guis:
            links, observer = self._guis.pop(tag)
            for link in links.values():
                link.stop()
            self.RemoveObserver(observer)

    def _reader(self, name: str, link: _Link) -> Callable[..., None]:
        def read() -> None:
            if not self._showing:
                self.setValue(name, link.read())

        return read

    def _show(self, links: dict[str, _Link]) -> None:
        if self._showing:
            return
        self._showing = True
        try:
            for name, link in links.items():
                link.write(self.getValue(name))
        finally:
            self._showing = False

    def StartModify(self) -> Any:
        return self.parameterNode.StartModify()

    def EndModify(self, modified: Any) -> Any:
        return self.parameterNode.EndModify(modified)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return int(self.parameterNode.AddObserver(event, callback, priority))

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


class _Link:
    """A parameter and the widget that shows it; each kind of parameter goes with certain classes of widget, exactly."""

    def __init__(self, widget: Any, parameter: _Parameter) -> None:
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


def parameterNodeWrapper(cls: type) -> type:
    """Turns the annotated members of a class into parameters of a node."""
    parameters = {name: _parameter(cls, name, kind) for name, kind in typing.get_type_hints(cls, include_extras=True).items()}
    members: dict[str, Any] = {name: _property(name) for name in parameters}
    return type(cls.__name__, (_Wrapper,), {**members, "allParameters": parameters, "__doc__": cls.__doc__, "__module__": cls.__module__})


def _property(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))
