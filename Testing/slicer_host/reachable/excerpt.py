"""Makes the tables of this folder from full ones: only the classes that the stand-in host and the panel name are kept.

python -m Testing.slicer_host.reachable.excerpt FOLDER    # with 5.10.json, 5.12.json and main.json in it
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from Testing.slicer_host.reachable import FOLDER, VERSIONS

ROOT = FOLDER.parents[2]
_CLASS = re.compile(r"\b(?:ctk|qMRML|qSlicer)[A-Z]\w*")
_SOURCES = ("Testing/slicer_host/**/*.py", "Testing/host/*.py", "IterMask3D/**/*.py", "IterMask3D/**/*.ui")


def named() -> set[str]:
    """Every word of the sources that looks like a class of Slicer or the CTK."""
    files = (path for pattern in _SOURCES for path in ROOT.glob(pattern))
    return {name for path in files for name in _CLASS.findall(path.read_text(encoding="utf-8"))}


def excerpt(full: dict[str, Any], names: set[str]) -> str:
    """The classes of a full table that have one of the names, one a line."""
    lines = (f"{json.dumps(name)}: {json.dumps(full[name], sort_keys=True)}" for name in sorted(names & set(full)))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    names = named()
    for version in VERSIONS:
        full = json.loads((folder / f"{version}.json").read_text(encoding="utf-8"))
        (FOLDER / f"{version}.json").write_text(excerpt(full, names), encoding="utf-8")


if __name__ == "__main__":
    main()
