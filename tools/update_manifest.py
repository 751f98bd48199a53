"""Writes the list of shipped files into IterMask3D/CMakeLists.txt: run `python tools/update_manifest.py`."""

from __future__ import annotations

from pathlib import Path

MODULE = Path(__file__).resolve().parents[1] / "IterMask3D"
_LEFT_OUT = ("CMakeLists.txt",)


def shipped_files(module: Path = MODULE) -> tuple[list[str], list[str]]:
    """Scripts and resources of the module, as paths relative to it."""
    files = [path for path in module.rglob("*") if path.is_file() and not _left_by_a_tool(path.relative_to(module))]
    names = sorted(path.relative_to(module).as_posix() for path in files if path.name not in _LEFT_OUT)
    return [name for name in names if name.endswith(".py")], [name for name in names if not name.endswith(".py")]


def _left_by_a_tool(path: Path) -> bool:
    """Whether a path is a cache: of Python, or hidden."""
    return any(part == "__pycache__" or part.startswith(".") for part in path.parts)


def manifest(module: Path = MODULE) -> str:
    """Text of the module's CMakeLists.txt."""
    scripts, resources = shipped_files(module)
    return "\n".join(
        [
            "# Written by tools/update_manifest.py; a test compares the lists with the tree.",
            "set(MODULE_NAME IterMask3D)",
            "",
            "set(MODULE_PYTHON_SCRIPTS",
            *(f"  {name}" for name in scripts),
            "  )",
            "",
            "set(MODULE_PYTHON_RESOURCES",
            *(f"  {name}" for name in resources),
            "  )",
            "",
            "slicerMacroBuildScriptedModule(",
            "  NAME ${MODULE_NAME}",
            "  SCRIPTS ${MODULE_PYTHON_SCRIPTS}",
            "  RESOURCES ${MODULE_PYTHON_RESOURCES}",
            "  WITH_GENERIC_TESTS",
            "  )",
            "",
            "if(BUILD_TESTING)",
            "  slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)",
            "endif()",
            "",
        ]
    )


if __name__ == "__main__":
    (MODULE / "CMakeLists.txt").write_text(manifest(), encoding="utf-8", newline="\n")
