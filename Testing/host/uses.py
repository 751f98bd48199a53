"""Reads sources and finds what they use of Qt objects: which member of which class, and how.

What an expression is, is followed from where objects come from (the widgets of a form, constructors, `slicer.app`)
through variables, attributes of `self`, loops, and parameters of functions and methods whose name is unique in the
sources. What may be one of several classes is used as all of them in a loop, and else as any one of them. Whatever
cannot be followed is left out; the host refuses it when it runs.
"""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_QT_CLASS = re.compile(r"(Q|ctk|qMRML|qSlicer)[A-Z]\w*")
_MANY = "*"
"""Before the class of the items of a tuple or a list."""
_UNPACKED = {"zip", "enumerate"}
_PASSED_ON = {"tuple", "list", "sorted", "reversed", "set"}
_BASES = {
    "ScriptedLoadableModule": {"parent": "qSlicerScriptedLoadableModule"},
    "ScriptedLoadableModuleWidget": {"parent": "qSlicerScriptedLoadableModuleWidget", "layout": "QVBoxLayout"},
}
"""What the base classes of scripted modules keep in `self`."""
_GIVEN = {
    ("qSlicerApplication", "layoutManager"): "qSlicerLayoutManager",
    ("qSlicerApplication", "moduleManager"): "qSlicerModuleManager",
    ("qSlicerApplication", "coreIOManager"): "qSlicerCoreIOManager",
    ("qSlicerApplication", "clipboard"): "QClipboard",
    ("qSlicerApplication", "userSettings"): "QSettings",
    ("qSlicerApplication", "settings"): "QSettings",
    ("qSlicerLayoutManager", "sliceWidget"): "qMRMLSliceWidget",
    ("qSlicerLayoutManager", "threeDWidget"): "qMRMLThreeDWidget",
    ("qMRMLSliceWidget", "sliceController"): "qMRMLSliceControllerWidget",
    ("qMRMLSliceWidget", "sliceView"): "qMRMLSliceView",
    ("qMRMLThreeDWidget", "threeDView"): "qMRMLThreeDView",
    ("qMRMLSequenceBrowserSeekWidget", "slider"): "ctkDoubleSlider",
    ("QTableWidget", "horizontalHeader"): "QHeaderView",
    ("QTableWidget", "verticalHeader"): "QHeaderView",
    ("QTableWidget", "selectionModel"): "QItemSelectionModel",
}
"""What methods of Qt objects give back."""


@dataclass(frozen=True)
class Use:
    """One use of a member: `how` is read, set, call or signal (then `member` is the signature).

    `classes` are what the object may be: whatever one of them allows is allowed.
    """

    place: str
    classes: tuple[str, ...]
    member: str
    how: str


@dataclass(frozen=True)
class Form:
    """The widgets of a `.ui` file, by name, and the class of the outermost."""

    widgets: dict[str, str]
    root: str

    @classmethod
    def read(cls, path: Path) -> Form:
        items = list(ET.parse(path).getroot().iter("widget"))
        return cls({str(item.get("name")): str(item.get("class")) for item in items}, str(items[0].get("class")))


def find_uses(files: Sequence[Path], form: Form) -> list[Use]:
    """Every use of a Qt object in the files that can be followed."""
    return find_uses_in({path.name: path.read_text(encoding="utf-8") for path in files}, form)


def find_uses_in(sources: dict[str, str], form: Form) -> list[Use]:
    """As `find_uses`, for sources by the name of their file."""
    program = _Program({name: ast.parse(text) for name, text in sources.items()}, form)
    program.follow()
    return list(program.uses())


class _Program:
    """Parsed sources, and what is known of every name in them."""

    def __init__(self, trees: dict[str, ast.Module], form: Form) -> None:
        self._trees, self._form = trees, form
        self._known: dict[tuple[int, str], set[str]] = defaultdict(set)
        self._parents: dict[int, ast.AST] = {}
        self._last: dict[int, ast.expr | None] = {}
        functions: dict[str, list[ast.FunctionDef]] = defaultdict(list)
        for node in self._nodes():
            for child in ast.iter_child_nodes(node):
                self._parents[id(child)] = node
            if isinstance(node, ast.FunctionDef):
                functions[node.name].append(node)
            elif isinstance(node, ast.ClassDef):
                self._inherit(node)
                functions[node.name].extend(each for each in node.body if _is_init(each))
        self._functions = {name: found[0] for name, found in functions.items() if len(found) == 1}

    def follow(self) -> None:
        """Learns what the names are, until nothing new is learnt."""
        before = -1
        while before != (before := sum(map(len, self._known.values()))):
            for node in self._nodes():
                self._learn(node)

    def uses(self) -> Iterator[Use]:
        for name, tree in self._trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute):
                    classes = sorted(cls for cls in self._types(node.value) if not cls.startswith(_MANY))
                    each = [(cls,) for cls in classes] if self._is_of_loop(node.value) else [tuple(classes)]
                    for group in filter(None, each):
                        yield from self._used(f"{name}:{node.lineno}", group, node)

    def _used(self, place: str, classes: tuple[str, ...], node: ast.Attribute) -> Iterator[Use]:
        parent = self._parents[id(node)]
        called = isinstance(parent, ast.Call) and parent.func is node
        how = "call" if called else "set" if isinstance(node.ctx, ast.Store) else "read"
        if node.attr in ("connect", "disconnect") and called:
            first = parent.args[0] if parent.args else None  # type: ignore[attr-defined]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Use(place, classes, first.value, "signal")
            return
        yield Use(place, classes, node.attr, how)

    def _nodes(self) -> Iterator[ast.AST]:
        return (node for tree in self._trees.values() for node in ast.walk(tree))

    def _inherit(self, node: ast.ClassDef) -> None:
        for base in node.bases:
            for attribute, cls in _BASES.get(ast.unparse(base).rpartition(".")[2], {}).items():
                self._known[id(node), attribute].add(cls)
                for each in filter(_is_init, node.body):
                    self._known[id(each), attribute].add(cls)

    # Learning

    def _learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._assign(target, self._types(node.value), node.value)
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
            self._assign(node.target, self._types(node.value), node.value)
        elif isinstance(node, (ast.For, ast.comprehension)):
            self._iterate(node.target, node.iter)
        elif isinstance(node, ast.Call):
            self._pass(node)

    def _assign(self, target: ast.expr, types: set[str], value: ast.expr | None) -> None:
        if isinstance(target, ast.Name):
            self._known[id(self._scope(target)), target.id] |= types
        elif isinstance(target, ast.Attribute) and _named(target.value, "self"):
            self._known[id(self._class(target)), target.attr] |= types
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, item in zip(target.elts, value.elts, strict=False):
                self._assign(one, self._types(item), item)

    def _iterate(self, target: ast.expr, over: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(over, ast.Call) and _named_any(over.func, _UNPACKED):
            counted = [set[str]()] if _named(over.func, "enumerate") else []
            each = [*counted, *(_items(self._types(argument)) for argument in over.args)]
            for one, types in zip(target.elts, each, strict=False):
                self._assign(one, types, None)
        else:
            self._assign(target, _items(self._types(over)), None)

    def _pass(self, call: ast.Call) -> None:
        """The arguments of a call are the parameters of the one function of its name."""
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        function = self._functions.get(name)
        if function is None:
            return
        names = [argument.arg for argument in function.args.args]
        if names[:1] == ["self"]:
            names = names[1:]
        for parameter, argument in zip(names, call.args, strict=False):
            self._known[id(function), parameter] |= self._types(argument)
        for keyword in call.keywords:
            if keyword.arg in names:
                self._known[id(function), keyword.arg] |= self._types(keyword.value)

    # What an expression is

    def _types(self, node: ast.expr) -> set[str]:
        if isinstance(node, ast.Name):
            return self._of_name(node)
        if isinstance(node, ast.Attribute):
            return self._of_attribute(node)
        if isinstance(node, ast.Call):
            return self._of_call(node)
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            return {f"{_MANY}{cls}" for item in node.elts for cls in self._types(item) if not cls.startswith(_MANY)}
        if isinstance(node, ast.Subscript):
            return _items(self._types(node.value))
        parts = {ast.IfExp: ("body", "orelse"), ast.NamedExpr: ("value",)}.get(type(node), ())
        values = node.values if isinstance(node, ast.BoolOp) else [getattr(node, part) for part in parts]
        return {cls for value in values for cls in self._types(value)}

    def _of_name(self, node: ast.Name) -> set[str]:
        if id(node) not in self._last:
            self._last[id(node)] = self._last_assigned(node)
        last = self._last[id(node)]
        if last is not None:
            return self._types(last)
        scope: ast.AST | None = self._scope(node)
        while scope is not None:
            if (id(scope), node.id) in self._known:
                return self._known[id(scope), node.id]
            scope = self._scope(scope) if id(scope) in self._parents else None
        return set()

    def _last_assigned(self, node: ast.Name) -> ast.expr | None:
        """What was assigned last to a name before its use; None where that depends on the way that was gone."""
        child: ast.AST = node
        while id(child) in self._parents and not isinstance(child, ast.FunctionDef):
            parent = self._parents[id(child)]
            for before in _earlier(parent, child):
                if isinstance(before, ast.Assign) and any(_named(target, node.id) for target in before.targets):
                    return before.value
                if any(_binds(each, node.id) for each in ast.walk(before)):
                    return None
            if isinstance(parent, ast.For) and any(_binds(each, node.id) for each in ast.walk(parent.target)):
                return None
            child = parent
        return None

    def _is_of_loop(self, node: ast.expr) -> bool:
        """Whether a name stands for one thing after the other."""
        if not isinstance(node, ast.Name) or self._last.get(id(node)) is not None:
            return False
        scope = self._scope(node)
        loops = (each for each in ast.walk(scope) if isinstance(each, (ast.For, ast.comprehension)))
        return any(_binds(each, node.id) for loop in loops for each in ast.walk(loop.target))

    def _of_attribute(self, node: ast.Attribute) -> set[str]:
        if _is_ui(node.value) and node.attr in self._form.widgets:
            return {self._form.widgets[node.attr]}
        if _named(node.value, "slicer") and node.attr == "app":
            return {"qSlicerApplication"}
        if _named(node.value, "self"):
            return self._known.get((id(self._class(node)), node.attr), set())
        return set()

    def _of_call(self, node: ast.Call) -> set[str]:
        function = node.func
        if isinstance(function, ast.Attribute):
            if _named_any(function.value, {"slicer", "ctk", "qt"}) and _QT_CLASS.fullmatch(function.attr):
                return {function.attr}
            if function.attr == "loadUI":
                return {self._form.root}
            given = {_GIVEN.get((cls, function.attr), "") for cls in self._types(function.value)} - {""}
            if given:
                return given
        if _named_any(function, _PASSED_ON) and node.args:
            return self._types(node.args[0])
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        called = self._functions.get(name)
        return self._returned(called) if called is not None and called.name == name else set()

    def _returned(self, function: ast.FunctionDef) -> set[str]:
        values = (node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value)
        return {cls for value in values if not isinstance(value, ast.Call) for cls in self._types(value)}

    def _scope(self, node: ast.AST) -> ast.AST:
        """The function around a node, or its file."""
        while id(node) in self._parents:
            node = self._parents[id(node)]
            if isinstance(node, (ast.FunctionDef, ast.Module)):
                break
        return node

    def _class(self, node: ast.AST) -> ast.AST:
        while id(node) in self._parents and not isinstance(node, ast.ClassDef):
            node = self._parents[id(node)]
        return node


def _earlier(parent: ast.AST, child: ast.AST) -> list[ast.AST]:
    """The statements before a statement in its block, the nearest first."""
    for _, block in ast.iter_fields(parent):
        if isinstance(block, list) and child in block and isinstance(child, ast.stmt):
            return list(reversed(block[: block.index(child)]))
    return []


def _binds(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)


def _is_init(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == "__init__"


def _named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _named_any(node: ast.expr, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def _is_ui(node: ast.expr) -> bool:
    """Whether an expression is what `slicer.util.childWidgetVariables` gave: by its name."""
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name.lstrip("_") == "ui"


def _items(types: set[str]) -> set[str]:
    return {cls.removeprefix(_MANY) for cls in types if cls.startswith(_MANY)}
