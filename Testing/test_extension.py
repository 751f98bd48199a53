"""What the extension index checks of a repository (its check_description_files.py), as far as no network is needed."""

from __future__ import annotations

import ast
import json
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from Testing.test_repository import LIBRARY, MODULE, ROOT, file_scope, repository_files, roots

ENTRY = json.loads((ROOT / "IterMask3D.json").read_text(encoding="utf-8"))
TOP = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
UI_FILE = MODULE / "Resources" / "UI" / "IterMask3D.ui"
FORM = ET.parse(UI_FILE).getroot()
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.1.json#"
)
FIELDS = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
"""Properties that the schema allows, with their types; no others may stand in the file."""
CATEGORIES = {
    "Segmentation",
    "Neuroimaging",
    "Quantification",
    "Registration",
    "Informatics",
    "Utilities",
    "Filtering",
    "Diffusion",
}
MAY_BE_THERE = set(sys.stdlib_module_names) | {"slicer", "vtk", "qt", "ctk", "numpy", "IterMask3DLib"}
"""What Slicer's Python holds from the start, and our own package."""


def field(name: str) -> str:
    """A field of the extension, found by the pattern that the index uses."""
    found = re.search(rf'set\s*\({name}\s*"([^"]+)"[ ]*\)', TOP)
    assert found, name
    return found.group(1)


def test_the_catalog_entry_has_the_fields_of_the_schema_and_no_others() -> None:
    assert {"$schema", "category", "scm_url"} <= set(ENTRY) <= set(FIELDS)
    assert all(type(value) is FIELDS[name] for name, value in ENTRY.items())
    assert ENTRY["$schema"] == SCHEMA
    assert ENTRY["category"] in CATEGORIES
    assert 1 <= ENTRY["tier"] <= 5
    assert (ROOT / ENTRY["build_subdirectory"] / "CMakeLists.txt").is_file()


def test_names_are_as_the_index_wants_them() -> None:
    (name,) = re.findall(r"^\s*project\s*\(\s*(\w+)\s*\)", TOP, re.M)
    assert name == "IterMask3D" and not name.startswith("Slicer")
    assert (ROOT / f"{name}.json").is_file()
    assert re.fullmatch(r"https://github\.com/[\w-]+/Slicer\w+", ENTRY["scm_url"])
    assert field("EXTENSION_HOMEPAGE") == ENTRY["scm_url"]


def test_dependencies_are_told_alike_in_both_files() -> None:
    assert field("EXTENSION_DEPENDS").split() == ENTRY["build_dependencies"] == ["PyTorch"]


@pytest.mark.parametrize("name", ["EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"])
def test_pictures_are_raw_addresses_of_files_that_are_here(name: str) -> None:
    for address in field(name).split():
        found = re.fullmatch(r"https://raw\.githubusercontent\.com/([\w-]+/\w+)/main/(\S+\.(?:png|jpe?g|gif))", address)
        assert found and ENTRY["scm_url"].endswith(found.group(1))
        assert (ROOT / found.group(2)).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("icon", [ROOT / "Resources/Icons/IterMask3D.png", MODULE / "Resources/Icons/IterMask3D.png"])
def test_icons_are_square(icon: Path) -> None:
    header = icon.read_bytes()[:24]
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (16, 20))
    assert width == height and width in (128, 256)


def test_the_description_is_for_readers_who_do_not_know_the_method() -> None:
    description = field("EXTENSION_DESCRIPTION")
    assert 40 < len(description) < 400 and "not a medical device" in description
    assert "CC BY-SA 3.0" in description, "the licence of the bundled weights"
    assert field("EXTENSION_CONTRIBUTORS")


def test_the_licence_is_permissive_and_at_the_top() -> None:
    assert (ROOT / "LICENSE.txt").read_text(encoding="utf-8").startswith("MIT License")


def test_every_listed_file_is_there_and_every_file_is_listed() -> None:
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    listed = {
        line.strip()
        for block in re.findall(r"set\(MODULE_PYTHON_\w+\n(.*?)\)", text, re.S)
        for line in block.splitlines()
        if line.strip()
    }
    there = {path.relative_to(MODULE).as_posix() for path in repository_files() if MODULE in path.parents}
    there.discard("CMakeLists.txt")
    assert listed == there


def test_nothing_built_is_committed_and_the_checkout_stays_small() -> None:
    files = repository_files()
    assert not [path for path in files if "__pycache__" in path.parts or path.suffix in {".pyc", ".zip", ".s4ext~"}]
    assert sum(path.stat().st_size for path in files) < 100e6


def imported_at_start(path: Path) -> set[str]:
    """Dotted names that a file imports when it is imported; what only type checkers read is left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
    names = set()
    for node in file_scope(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files_of(name: str) -> Iterator[Path]:
    """The files of our own package that the import of a dotted name runs."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        place = MODULE.joinpath(*parts[:depth])
        yield from (path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file())


def files_of_the_panel() -> list[Path]:
    """What Slicer imports for the panel, directly or through other files of ours."""
    waiting, found = [MODULE / "IterMask3D.py", *(LIBRARY / "ui").glob("*.py")], set()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            ours = [name for name in imported_at_start(path) if name.startswith("IterMask3DLib")]
            waiting.extend(each for name in ours for each in files_of(name))
    return sorted(found)


@pytest.mark.parametrize("path", files_of_the_panel(), ids=lambda path: path.relative_to(MODULE).as_posix())
def test_the_panel_opens_where_only_slicers_own_packages_are(path: Path) -> None:
    assert roots(imported_at_start(path)) <= MAY_BE_THERE


def test_nothing_is_done_when_the_module_is_imported() -> None:
    tree = ast.parse((MODULE / "IterMask3D.py").read_text(encoding="utf-8"))
    for node in tree.body:
        called = (
            [part for part in ast.walk(node) if isinstance(part, ast.Call)]
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef))
            else []
        )
        assert all(isinstance(call.func, ast.Name) and call.func.id == "Path" for call in called)


def test_torch_is_never_installed_by_pip() -> None:
    listed = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [re.split(r"[<>=]", line)[0] for line in listed if line and not line.startswith("#")]
    assert "torch" not in names and "numpy" in names
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", line) for line in listed if line and not line.startswith("#"))


# The form, as slicer.md and Slicer's template want it


def properties(widget: ET.Element) -> dict[str, ET.Element]:
    return {item.get("name", ""): item for item in widget.findall("property")}


def widgets() -> list[ET.Element]:
    return list(FORM.iter("widget"))


def test_the_form_is_a_qmrmlwidget_named_as_the_module() -> None:
    top = FORM.find("widget")
    assert top is not None and (top.get("class"), top.get("name")) == ("qMRMLWidget", "IterMask3D")


def test_every_widget_with_a_scene_gets_it_from_the_form() -> None:
    with_scene = {w.get("name") for w in widgets() if w.get("class", "").startswith(("qMRMLNode", "qMRMLSequence"))}
    signal = "mrmlSceneChanged(vtkMRMLScene*)"
    joined = {item.findtext("receiver") for item in FORM.iter("connection") if item.findtext("signal") == signal}
    assert joined == with_scene
    assert {item.findtext("slot") for item in FORM.iter("connection")} == {"setMRMLScene(vtkMRMLScene*)"}


def test_everything_a_user_can_touch_explains_itself() -> None:
    silent = {"QLabel", "QFrame", "ctkCollapsibleButton", "qMRMLWidget"}
    for widget in widgets():
        if widget.get("class") not in silent:
            tip = properties(widget).get("toolTip")
            assert tip is not None and (tip.findtext("string") or "").strip(), widget.get("name")


def test_the_form_leaves_the_looks_to_slicer() -> None:
    text = UI_FILE.read_text(encoding="utf-8")
    assert "styleSheet" not in text and "<font>" not in text and "<palette>" not in text


def test_the_reader_is_told_what_the_software_is_not() -> None:
    assert any("not a medical device" in (item.text or "") for item in FORM.iter("string"))


def test_sections_stand_in_the_order_of_the_work() -> None:
    titles = [properties(w)["text"].findtext("string") for w in widgets() if w.get("class") == "ctkCollapsibleButton"]
    results, parts = ["Lesions", "Edit the outline", "Heatmap", "Iterations", "Save"], ["Continue from here", "Log"]
    wanted = ["Input", *results, "Batch", "Details", *parts]
    assert titles == wanted


@pytest.mark.parametrize(
    "path",
    [MODULE / "IterMask3D.py", *(LIBRARY / "ui").glob("*.py"), *(LIBRARY / "scene").rglob("*.py")],
    ids=lambda path: path.name,
)
def test_nothing_is_translated_before_slicer_knows_the_language(path: Path) -> None:
    calls = (node for node in file_scope(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    early = [node.lineno for node in calls if getattr(node.func, "id", "") in ("_", "tr", "translate")]
    assert early == []


UNTRANSLATED = {"segmentations.py"}
"""Codes of a terminology."""


def sentences_in_the_open(node: ast.AST) -> Iterator[str]:
    """Sentences that no translation gets; docstrings, names of nodes and errors of programming are left out."""
    function = getattr(node, "func", None)
    called = getattr(function, "id", getattr(function, "attr", ""))
    is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    if is_docstring or called in ("_", "own", "AddNewNodeByClass", "RuntimeError"):
        return
    text = node.value if isinstance(node, ast.Constant) else None
    if isinstance(text, str) and re.match(r"[A-Z{][^<]* [a-z]\w* [^<]*$", text):
        yield text
    for child in ast.iter_child_nodes(node):
        yield from sentences_in_the_open(child)


@pytest.mark.parametrize(
    "path", [*(LIBRARY / "ui").glob("*.py"), *(LIBRARY / "scene").rglob("*.py")], ids=lambda path: path.name
)
def test_what_users_read_can_be_translated(path: Path) -> None:
    if path.name not in UNTRANSLATED:
        assert list(sentences_in_the_open(ast.parse(path.read_text(encoding="utf-8")))) == []
