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

ENGINE = {"core", "preprocessing", "runtime", "models", "methods"}
MAY_IMPORT = {
    "core": {"core"},
    "preprocessing": {"core", "preprocessing"},
    "runtime": {"core", "runtime"},
    "models": {"core", "models"},
    "methods": ENGINE,
    "results": {"core", "preprocessing", "results"},
    "training": ENGINE | {"results", "training"},
    "evaluation": ENGINE | {"results", "run", "training", "evaluation"},
    "serve": ENGINE | {"results", "run", "batch", "serve"},
    "cli": ENGINE | {"results", "run", "batch", "training", "evaluation", "serve", "cli"},
    "scene": {"core", "scene"},
    "ui": {"core", "scene", "ui"},
    "run.py": ENGINE,
    "batch.py": {"core", "models", "preprocessing", "results", "run"},
}
"""What each package and each file beside them may take from: downhill, and never in a circle."""
SLICER = {"slicer", "vtk", "qt", "ctk"}
MAY_USE = {"scene": {"slicer", "vtk"}, "ui": {"slicer", "vtk", "qt", "ctk"}}
"""What of Slicer a package may import; the others nothing."""


def test_the_module_ships_exactly_the_files_of_its_folder() -> None:
    listed = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    assert listed == manifest(), "run: python tools/update_manifest.py"
    assert all(f"Resources/Models/{name}/model.safetensors" in listed for name in ("t1w", "t1w-2mm", "t2w", "flair"))


def test_the_extension_is_described_alike_in_cmake_json_and_s4ext() -> None:
    entry = json.loads((ROOT / "IterMask3D.json").read_text(encoding="utf-8"))
    where = {"scm_url", "scm_revision", "scm_type", "build_dependencies", "build_subdirectory"}
    assert set(entry) <= {"$schema", "category", "enabled", "tier"} | where and {
        "$schema",
        "category",
        "scm_url",
    } <= set(entry)
    assert re.search(r"^project\((\w+)\)$", TOP, re.M).group(1) == "IterMask3D"
    depends = re.search(r'^set\(EXTENSION_DEPENDS "([^"]+)"\)$', TOP, re.M).group(1)
    assert depends.split() == entry["build_dependencies"]
    lines = (ROOT / "IterMask3D.s4ext").read_text(encoding="utf-8").splitlines()
    older = dict(line.split(" ", 1) for line in lines if not line.startswith("#"))
    assert older["category"] == entry["category"] and older["scmurl"] == entry["scm_url"]
    assert older["depends"] == depends
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


PARTS = sorted(path.name for path in LIBRARY.iterdir() if (path / "__init__.py").exists() or path.suffix == ".py")


@pytest.mark.parametrize("package", [part for part in PARTS if part != "__init__.py"])
def test_imports_run_downhill(package: str) -> None:
    assert package in MAY_IMPORT, f"say in MAY_IMPORT what {package} may import"
    part = LIBRARY / package
    for path in part.rglob("*.py") if part.is_dir() else [part]:
        names = imported_names(path)
        assert not any(name.startswith(".") for name in names), f"{path} imports relatively"
        assert roots(names) & SLICER <= MAY_USE.get(package, set()), path
        own = {name.split(".")[1] for name in names if name.startswith("IterMask3DLib.")}
        assert own <= MAY_IMPORT[package] | {"__version__"}, f"{path} imports {own}"


def test_no_package_takes_from_itself_by_way_of_others() -> None:
    known = {package: allowed - {package} for package, allowed in MAY_IMPORT.items()}
    done: list[str] = []
    while len(done) < len(known):
        free = [p for p in known if p not in done and known[p] <= {d.removesuffix(".py") for d in done}]
        assert free, f"a circle among {sorted(set(known) - set(done))}"
        done += free


def modules() -> dict[str, Path]:
    """The files of the library by the names they are imported under."""
    paths = {path.relative_to(MODULE).with_suffix("").parts: path for path in LIBRARY.rglob("*.py")}
    return {".".join(parts).removesuffix(".__init__"): path for parts, path in paths.items()}


def only_for_types(tree: ast.AST) -> set[ast.AST]:
    """What only type checkers read."""
    guarded = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test).endswith("TYPE_CHECKING")]
    return {inner for node in guarded for inner in ast.walk(node)}


def taken_from(path: Path, known: dict[str, Path]) -> set[str]:
    """The files of the library that a file imports, in functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unread = only_for_types(tree)
    nodes = [node for node in ast.walk(tree) if node not in unread]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {f"{n.module}.{alias.name}" for n in nodes if isinstance(n, ast.ImportFrom) for alias in n.names}
    return {name if name in known else name.rpartition(".")[0] for name in names} & set(known) - {"IterMask3DLib"}


def test_no_file_takes_from_itself_by_way_of_others() -> None:
    known = modules()
    waiting = {name: taken_from(path, known) - {name} for name, path in known.items()}
    while waiting:
        free = {name for name, needed in waiting.items() if not needed & set(waiting)}
        assert free, f"a circle among {sorted(waiting)}"
        waiting = {name: needed for name, needed in waiting.items() if name not in free}


HEAVY = ("torch", "openvino", "SimpleITK", "nibabel", "scipy", "matplotlib", "pandas", "jinja2", "lightning")
LIGHT = {
    "what the scene may import": [name for name in modules() if name.startswith("IterMask3DLib.core")],
    "what lists models and methods": [
        "IterMask3DLib.models.catalogue",
        "IterMask3DLib.methods.base",
        "IterMask3DLib.methods.registry",
        *(name for name in modules() if name.startswith("IterMask3DLib.methods.") and name.endswith(".settings")),
    ],
    "what reads the command line": ["IterMask3DLib.cli.parser", "IterMask3DLib.serve.description"],
}


def imported_by(code: str) -> set[str]:
    """The packages that a Python has imported when `code` has run."""
    ending = "\nimport sys, json\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    environment = {**os.environ, "PYTHONPATH": str(MODULE)}
    command = [sys.executable, "-c", code + ending]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("kind", LIGHT)
def test_what_is_needed_at_once_is_imported_at_once(kind: str) -> None:
    code = "\n".join(f"import {name}" for name in LIGHT[kind])
    found = imported_by(f"{code}\nfrom IterMask3DLib.methods.registry import method_specs\nmethod_specs()")
    assert found & set(HEAVY) == set()


@pytest.mark.parametrize(
    "words", [["--help"], ["segment", "--help"], ["train", "--help"], ["evaluate", "--help"], ["models", "list"]]
)
def test_a_command_that_only_answers_loads_nothing_heavy(words: list[str]) -> None:
    code = f"from IterMask3DLib.cli import main\ntry: main({words})\nexcept SystemExit as end: assert not end.code"
    assert imported_by(code) & set(HEAVY) == set()


def test_no_function_is_written_twice() -> None:
    homes: dict[str, list[str]] = {}
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                code = "\n".join(map(ast.unparse, body))
                if code.count("\n") >= 2:
                    homes.setdefault(code, []).append(f"{name}.{node.name}")
    assert [places for places in homes.values() if len(places) > 1] == []


def test_each_public_class_has_a_name_of_its_own() -> None:
    homes: dict[str, list[str]] = {}
    for path in LIBRARY.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(path.relative_to(LIBRARY).as_posix())
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_slicer_loads_the_module_without_heavy_packages() -> None:
    allowed = set(sys.stdlib_module_names) | SLICER | {"numpy", "IterMask3DLib"}
    assert roots(imported_names(MODULE / "IterMask3D.py", file_scope_only=True)) <= allowed


def repository_files() -> list[Path]:
    """Every file that is, or is about to be, in the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if listing.returncode:
        pytest.skip("needs a git checkout")
    return [path for path in (ROOT / name for name in listing.stdout.split("\0") if name) if path.is_file()]


def test_text_files_end_their_lines_with_lf_and_no_file_is_too_large() -> None:
    for path in repository_files():
        assert path.stat().st_size <= 45e6, path
        content = path.read_bytes()
        assert b"\0" in content[:8000] or b"\r\n" not in content, path


def test_no_file_names_a_place_of_one_machine() -> None:
    private = re.compile(r"/(work|home|root|tmp|Users)/")
    for path in repository_files():
        if path.suffix not in {".py", ".toml", ".json", ".md", ".cmake", ".yml"} or "golden" in path.parts:
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        assert [line for line in lines if private.search(line)] == [], path


def test_every_method_can_be_cited() -> None:
    references = (ROOT / "CITATION.cff").read_text(encoding="utf-8").split("  - type: ")[1:]
    papers = {re.search(r"arXiv (\d{4}\.\d{5})", text).group(1): text.count("family-names:") for text in references}
    assert papers == {"2504.04911": 8, "2406.02422": 4, "2308.16150": 4, "2307.07534": 1}
    assert all("title: " in text and "year: " in text for text in references[1:])
