"""What Python reaches of Slicer's and CTK's Qt classes, version by version.

PythonQt shows a Qt class by its meta-object: properties, signals, slots and what is marked Q_INVOKABLE. A plain public
C++ method is not there, however public it is. The tables of this folder say which is which; see its README.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
VERSIONS = ("5.10", "5.12", "main")

DECORATED = {"qSlicerCoreApplication": {"testingEnabled"}, "qSlicerApplication": {"testingEnabled"}}
"""Static methods that Slicer adds for Python (qSlicerBaseQTCorePythonQtDecorators.h); the tables lack them."""

_OUTSIDE = {"QVTKOpenGLNativeWidget": "QWidget"}
"""Bases that are neither Slicer's nor Qt's, and the class of Qt that stands behind them."""
_KINDS = {"properties": ("properties",), "methods": ("invokable", "slots"), "signals": ("signals",)}


@dataclass(frozen=True)
class Members:
    """What one class offers to Python beyond its base in Qt; `cpp_only` is what it offers to C++ alone."""

    name: str
    qt_base: str
    properties: frozenset[str] = field(repr=False)
    methods: frozenset[str] = field(repr=False)
    signals: frozenset[str] = field(repr=False)
    cpp_only: frozenset[str] = field(repr=False)

    @property
    def names(self) -> frozenset[str]:
        return self.properties | self.methods | self.signals


@cache
def table(version: str) -> dict[str, dict[str, Any]]:
    """Every class of one version that is in the excerpt."""
    classes: dict[str, dict[str, Any]] = json.loads((FOLDER / f"{version}.json").read_text(encoding="utf-8"))
    return classes


def is_known(name: str) -> bool:
    """Whether the excerpt has the class, in every version."""
    return all(name in table(version) for version in VERSIONS)


@cache
def members(name: str, version: str = "") -> Members:
    """What a class offers in one version, or, without one, in all of them."""
    if version:
        return _in_version(name, version)
    each = [_in_version(name, version) for version in VERSIONS]
    common = {kind: frozenset.intersection(*(getattr(one, kind) for one in each)) for kind in _KINDS}
    cpp_only = frozenset.union(*(one.cpp_only for one in each)) - frozenset().union(*common.values())
    return Members(name, each[0].qt_base, cpp_only=cpp_only, **common)


def _in_version(name: str, version: str) -> Members:
    if name not in table(version):
        raise KeyError(f"the tables of Slicer {version} lack {name}: see {FOLDER.name}/README.md")
    entry = table(version)[name]
    found = {kind: frozenset(item for key in keys for item in entry[key]) for kind, keys in _KINDS.items()}
    found["methods"] |= DECORATED.get(name, set())
    base = _OUTSIDE.get(entry["qt_base"], entry["qt_base"])
    return Members(name, base, cpp_only=frozenset(entry["cpp_only"]), **found)


@cache
def qt_class(name: str) -> type:
    """A class of Qt, as PySide6 has it."""
    from PySide6 import QtCore, QtGui, QtWidgets

    for module in (QtWidgets, QtGui, QtCore):
        if hasattr(module, name):
            found: type = getattr(module, name)
            return found
    raise KeyError(f"Qt has no class {name}")


@cache
def qt_names(name: str) -> frozenset[str]:
    """What a class of Qt offers to Python, as PySide6 shows it: PythonQt wraps Qt's own classes whole."""
    cls = qt_class(name)
    meta = cls.staticMetaObject  # type: ignore[attr-defined]
    properties = {str(meta.property(index).name()) for index in range(meta.propertyCount())}
    return frozenset(properties | {item for item in dir(cls) if not item.startswith("_")} | {"destroyed"})
