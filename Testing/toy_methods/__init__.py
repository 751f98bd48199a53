"""Methods in packages of their own, and what installs them without a network."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def install_toy_methods(site: Path) -> None:
    """Puts every package beside this file into a folder as an installer does: its files, and what it says of itself."""
    for project in sorted(Path(__file__).parent.glob("*/pyproject.toml")):
        about = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        name = about["name"]
        shutil.copytree(project.parent / name, site / name, ignore=shutil.ignore_patterns("__pycache__"))
        record = site / f"{name}-{about['version']}.dist-info"
        record.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {about['version']}\n"
        (record / "METADATA").write_text(metadata, encoding="utf-8")
        lines = []
        for group, entries in about["entry-points"].items():
            lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
        (record / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
