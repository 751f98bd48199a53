"""Stand-in for slicer.parameterNodeWrapper: the part of it that the panel uses, storing and refusing in the same ways.

Numbers, texts and truth values are kept as parameters of the node, enumerations by the names of their members, MRML
nodes as references.

A wrapper that was connected to widgets is as dangerous as Slicer 5.10's: its observer of the node outlives
`disconnectGui` (mended in March 2026, for 5.12), and when nothing but that observer holds the wrapper any more,
Python's garbage collector empties both, and the next change of the node ends the application. Here, that next change
is an error. Whoever drops such a wrapper has to take its observer away first.
"""

from __future__ import annotations

import typing
import weakref
from collections.abc import Callable
from typing import Any

import vtk

from Testing.slicer_host.parameter_links import Link
from Testing.slicer_host.parameters import Parameter, WithinRange, parameter_of
from Testing.slicer_host.signals import note_error

__all__ = ["WithinRange", "parameterNodeWrapper"]

NAME_PROPERTY = "SlicerParameterName"


class _Wrapper:
    """What a wrapped class can do besides its parameters."""

    allParameters: typing.ClassVar[dict[str, Parameter]] = {}

    def __init__(self, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._guis: dict[int, dict[str, Link]] = {}
        self._next = 0
        self._showing = False
        for parameter in self.allParameters.values():
            parameter.read(parameterNode)

    def getValue(self, name: str) -> Any:
        return self.allParameters[name].read(self.parameterNode)

    def setValue(self, name: str, value: Any) -> None:
        self.allParameters[name].write(self.parameterNode, value)

    def connectGui(self, gui: Any) -> int:
        named = [(widget.property(NAME_PROPERTY), widget) for widget in vars(gui).values()]
        widgets = {name: widget for name, widget in named if name}
        unknown = set(widgets) - set(self.allParameters)
        if unknown:
            raise ValueError(f"there are no parameters {sorted(unknown)}")
        links = {name: Link(widget, self.allParameters[name]) for name, widget in widgets.items()}
        for name, link in links.items():
            link.write(self.getValue(name))
            link.start(self._reader(name, link))
        tag = self._next
        self._next += 1
        self._guis[tag] = links
        self.AddObserver(vtk.vtkCommand.ModifiedEvent, _following(self))
        return tag

    def disconnectGui(self, tag: int | None) -> None:
        if tag in self._guis:
            for link in self._guis.pop(tag).values():
                link.stop()

    def _reader(self, name: str, link: Link) -> Callable[..., None]:
        def read() -> None:
            if not self._showing:
                self.setValue(name, link.read())

        return read

    def _show(self) -> None:
        if self._showing:
            return
        self._showing = True
        try:
            for links in self._guis.values():
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


def _following(wrapper: _Wrapper) -> Callable[[Any, str], None]:
    """What the node calls when it changes; it does not hold the wrapper, so that its end is seen at once."""
    known, kind = weakref.ref(wrapper), type(wrapper).__name__
    told = False

    def follow(_node: Any, _event: str) -> None:
        nonlocal told
        alive = known()
        if alive is not None:
            alive._show()
        if alive is not None or told:
            return
        told = True
        text = f"a parameter node changed after its wrapper {kind} was collected; Slicer 5.10 would crash"
        note_error(ReferenceError, ReferenceError(text), None)

    return follow


def parameterNodeWrapper(cls: type) -> type:
    """Turns the annotated members of a class into parameters of a node."""
    hints = typing.get_type_hints(cls, include_extras=True)
    parameters = {name: parameter_of(cls, name, kind) for name, kind in hints.items()}
    members: dict[str, Any] = {name: _property(name) for name in parameters}
    about = {"allParameters": parameters, "__doc__": cls.__doc__, "__module__": cls.__module__}
    return type(cls.__name__, (_Wrapper,), {**members, **about})


def _property(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))
