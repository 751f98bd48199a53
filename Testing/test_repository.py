"""The repository around the code: extension files, direction of imports, shipped files."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.update_manifest import MODULE, manifest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = MODULE / "IterMask3DLib"
TOP = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")

MAY_IMPORT = {
    "engine": {"engine"},
    "results": {"engine", "results"},
    "methods": {"engine", "methods"},
    "training": {"engine", "methods", "training", "progress"},
    "evaluation": {"engine", "methods", "results", "pipeline", "progress", "evaluation"},
    "scene": {"engine", "methods", "results", "pipeline", "progress", "scene"},
    "ui": {"engine", "scene", "ui"},
}
"""The packages each package may take from; the doors (cli, commands, progress, pipeline) may take from all of them."""
SLICER = {"slicer", "vtk", "qt", "ctk"}
MAY_USE = {"scene": {"slicer", "vtk"}, "ui": {"slicer", "vtk", "qt", "ctk"}}
"""What of Slicer a package may import; the others nothing."""


def test_the_module_ships_exactly_the_files_of_its_folder() -> None:
    listed = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    assert listed == manifest(), "run: python tools/update_manifest.py"
    assert "Resources/Models/t1w-2mm/model.safetensors" in listed


def test_the_extension_is_described_alike_in_cmake_json_and_s4ext() -> None:
    entry = json.loads((ROOT / "IterMask3D.json").read_text(encoding="utf-8"))
    allowed = {"$schema", "category", "scm_url", "scm_revision", "scm_type", "build_dependencies", "build_subdirectory", "enabled", "tier"}
    assert set(entry) <= allowed and {"$schema", "category", "scm_url"} <= set(entry)
    assert re.search(r"^project\((\w+)\)$", TOP, re.M).group(1) == "IterMask3D"
    depends = re.search(r'^set\(EXTENSION_DEPENDS "([^"]+)"\)$', TOP, re.M).group(1)
    assert depends.split() == entry["build_dependencies"]
    older = dict(
        line.split(" ", 1) for line in (ROOT / "IterMask3D.s4ext").read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    )
    assert older["category"] == entry["category"] and older["scmurl"] == entry["scm_url"] and older["depends"] == depends
    assert Path(entry["scm_url"]).name.startswith("Slicer")


@pytest.mark.parametrize("name", ["HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"])
def test_every_field_of_the_extension_is_on_one_line(name: str) -> None:
    value = re.search(rf'^set\(EXTENSION_{name} "([^"\n]+)"\)$', TOP, re.M)
    assert value
    for address in re.findall(r"https://raw\S+/main/(\S+)", value.group(1)):
        assert (ROOT / address).is_file()


def file_scope(tree: ast.Module) -> Iterator[ast.AST]:
    """What runs when the file is imported: everything but the bodies of functions."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting.extend(ast.iter_child_nodes(node))


def imported_names(path: Path, file_scope_only: bool = False) -> set[str]:
    """Dotted names that a file imports: `from a import b` is `a.b`, a relative import starts with a dot."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in file_scope(tree) if file_scope_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return names


def roots(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("package", sorted(path.parent.name for path in LIBRARY.glob("*/__init__.py")))
def test_imports_run_downhill(package: str) -> None:
    assert package in MAY_IMPORT, f"say in MAY_IMPORT what {package} may import"
    for path in (LIBRARY / package).rglob("*.py"):
        names = imported_names(path)
        assert not any(name.startswith(".") for name in names), f"{path} imports relatively"
        assert roots(names) & SLICER <= MAY_USE.get(package, set()), path
        own = {name.split(".")[1] for name in names if name.startswith("IterMask3DLib.")}
        assert own <= MAY_IMPORT[package] | {"__version__"}, f"{path} imports {own}"


def test_the_command_line_runs_where_slicer_is_not() -> None:
    for path in LIBRARY.glob("*.py"):
        assert not roots(imported_names(path)) & SLICER, path


def test_slicer_loads_the_module_without_heavy_packages() -> None:
    allowed = set(sys.stdlib_module_names) | SLICER | {"numpy", "IterMask3DLib"}
    assert roots(imported_names(MODULE / "IterMask3D.py", file_scope_only=True)) <= allowed


def test_help_answers_without_loading_torch() -> None:
    code = "import sys\nfrom IterMask3DLib.cli import main\ntry: main(['--help'])\nexcept SystemExit: sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(MODULE)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "usage: itermask3d" in done.stdout


def repository_files() -> list[Path]:
    """Every file that is, or is about to be, in the repository."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("needs a git checkout")
    return [path for path in (ROOT / name for name in listing.stdout.split("\0") if name) if path.is_file()]


def test_text_files_end_their_lines_with_lf_and_no_file_is_too_large() -> None:
    for path in repository_files():
        assert path.stat().st_size <= 45e6, path
        content = path.read_bytes()
        assert b"\0" in content[:8000] or b"\r\n" not in content, path


def test_every_method_can_be_cited() -> None:
    references = (ROOT / "CITATION.cff").read_text(encoding="utf-8").split("  - type: ")[1:]
    papers = {re.search(r"arXiv (\d{4}\.\d{5})", text).group(1): text.count("family-names:") for text in references}
    assert papers == {"2504.04911": 8, "2406.02422": 4, "2308.16150": 4, "2307.07534": 1}
    assert all("title: " in text and "year: " in text for text in references[1:])
