"""The repository around the code: extension files, direction of imports, shipped files."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import pytest

from tools.update_manifest import MODULE, manifest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = MODULE / "IterMask3DLib"
TOP = (ROOT / "CMakeLists.txt").read_text()

MAY_IMPORT = {
    "engine": {"engine"},
    "results": {"engine", "results"},
    "methods": {"engine", "methods"},
    "training": {"engine", "methods", "training"},
}
"""The packages each package may take from; the doors (cli, commands, progress, pipeline) may take from all of them."""


def test_the_module_ships_exactly_the_files_of_its_folder() -> None:
    listed = (MODULE / "CMakeLists.txt").read_text()
    assert listed == manifest(), "run: python tools/update_manifest.py"
    assert "Resources/Models/t1w-2mm/model.safetensors" in listed


def test_the_extension_is_described_alike_in_cmake_json_and_s4ext() -> None:
    entry = json.loads((ROOT / "IterMask3D.json").read_text())
    allowed = {"$schema", "category", "scm_url", "scm_revision", "scm_type", "build_dependencies", "build_subdirectory", "enabled", "tier"}
    assert set(entry) <= allowed and {"$schema", "category", "scm_url"} <= set(entry)
    assert re.search(r"^project\((\w+)\)$", TOP, re.M).group(1) == "IterMask3D"
    depends = re.search(r'^set\(EXTENSION_DEPENDS "([^"]+)"\)$', TOP, re.M).group(1)
    assert depends.split() == entry["build_dependencies"]
    older = dict(line.split(" ", 1) for line in (ROOT / "IterMask3D.s4ext").read_text().splitlines() if not line.startswith("#"))
    assert older["category"] == entry["category"] and older["scmurl"] == entry["scm_url"] and older["depends"] == depends
    assert Path(entry["scm_url"]).name.startswith("Slicer")


@pytest.mark.parametrize("name", ["HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"])
def test_every_field_of_the_extension_is_on_one_line(name: str) -> None:
    value = re.search(rf'^set\(EXTENSION_{name} "([^"\n]+)"\)$', TOP, re.M)
    assert value
    for address in re.findall(r"https://raw\S+/main/(\S+)", value.group(1)):
        assert (ROOT / address).is_file()


def imported_modules(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_downhill(package: str) -> None:
    files = list((LIBRARY / package).glob("*.py"))
    assert files
    for path in files:
        for name in imported_modules(path):
            assert name.split(".")[0] not in {"slicer", "vtk", "qt", "ctk"}, path
            if name.startswith("IterMask3DLib."):
                assert name.split(".")[1] in MAY_IMPORT[package], f"{path} imports {name}"


def test_slicer_loads_the_module_without_heavy_packages() -> None:
    allowed = set(sys.stdlib_module_names) | {"slicer", "vtk", "qt", "ctk", "numpy", "__future__"}
    assert {name.split(".")[0] for name in imported_modules(MODULE / "IterMask3D.py", top_level_only=True)} <= allowed


def test_text_files_end_their_lines_with_lf_and_no_file_is_too_large() -> None:
    for path in ROOT.rglob("*"):
        if path.is_file() and not {".git", ".venv", "__pycache__", "build", "dist", "demo"} & set(path.relative_to(ROOT).parts):
            assert path.stat().st_size <= 40e6, path
            if path.suffix in {".py", ".md", ".txt", ".json", ".toml", ".cff", ".s4ext", ".j2"}:
                assert b"\r" not in path.read_bytes(), path


def test_help_answers_without_loading_torch() -> None:
    reached = {name.split(".")[0] for name in imported_modules(LIBRARY / "cli.py", top_level_only=True)}
    assert "torch" not in reached
    assert imported_modules(LIBRARY / "engine" / "errors.py") <= {"__future__"}
