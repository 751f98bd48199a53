"""One parameter of a parameter node: how its value is checked, stored and read."""

from __future__ import annotations

import enum
import typing
from dataclasses import dataclass
from typing import Any

import slicer


@dataclass(frozen=True)
class WithinRange:
    """Refuses values outside minimum to maximum, both included."""

    minimum: float
    maximum: float


@dataclass(frozen=True)
class Parameter:
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


def parameter_of(cls: type, name: str, annotation: Any) -> Parameter:
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
        return Parameter(name, kinds, notes, None)
    (kind,) = kinds
    if not issubclass(kind, (bool, int, float, str, enum.Enum)):
        raise TypeError(f"there is no way to store {name} of type {annotation}")
    default = getattr(cls, name) if hasattr(cls, name) else next(iter(kind)) if issubclass(kind, enum.Enum) else kind()
    return Parameter(name, kinds, notes, default)
