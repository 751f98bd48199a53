"""What may be written where: results replace only what this program wrote, and never an input."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from IterMask3DLib.core.errors import UserError

_ENDINGS = (
    "anomaly.nii.gz",
    "heatmap.nii.gz",
    "reconstruction.nii.gz",
    "brain.nii.gz",
    "iterations.nii.gz",
    "iterations.csv",
    "lesions.csv",
    "curve.csv",
    "report.html",
    "run.json",
)
"""Files of a case whose record does not list them, as earlier versions left them."""


def check_target(
    target: Path, inputs: Iterable[Path], overwrite: bool, is_ours: Callable[[Path], bool] = lambda folder: False
) -> None:
    """Raises `UserError` where a folder cannot be written without touching what is not this program's.

    Args:
        target: the folder that is to be written or replaced.
        inputs: what is read; the target may neither be one of them, nor hold one, nor lie in a folder of them, whatever
            links and letters' cases lead there.
        overwrite: whether a folder of ours may be replaced.
        is_ours: tells a folder that this program wrote.
    """
    here, exists = _ways(_real(target)), os.path.lexists(target)
    for each in inputs:
        # In a folder that is not there yet nothing can be lost, so the links in an input do not matter.
        if any(here[0] in there or there[0] in here for there in map(_ways, _places(each, exists))):
            raise UserError(f"{target} would be written over the input {each}; choose another output folder.")
    if not exists:
        return
    if not target.is_dir():
        raise UserError(f"{target} is no folder; choose another output folder.")
    if not is_ours(target):
        if target.is_symlink() or any(target.iterdir()):
            raise UserError(f"{target} exists and holds no results of this program; move it or choose another folder.")
    elif not overwrite:
        raise UserError(f"{target} exists already; choose another output folder or use --overwrite.")


def is_case(folder: Path, case: str) -> bool:
    """Whether a folder, and no link to one, holds the results of a case, by the record of its run."""
    return bool(case_files_in(folder, case)) and not folder.is_symlink()


def case_files_in(folder: Path, case: str) -> list[str]:
    """The files that the record of a case says this program wrote; [] where there is no such record."""
    if not (folder / f"{case}_run.json").is_file():
        return []
    try:
        record = json.loads((folder / f"{case}_run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(record, dict) or record.get("case") != case:
        return []
    files = record.get("files", [f"{case}_{ending}" for ending in _ENDINGS])
    if not isinstance(files, list):
        return []
    return [name for name in files if isinstance(name, str) and name.startswith(f"{case}_") and Path(name).name == name]


def _places(given: Path, with_links: bool) -> Iterator[Path]:
    """Where an input is, where it lies itself if it is a link, and where the links in it lead to."""
    yield _real(given)
    yield _real(given.parent) / given.name
    if with_links:
        for folder, folders, files in os.walk(given):
            for name in (*folders, *files):
                path = Path(folder, name)
                if path.is_symlink():
                    yield _real(path)


def _ways(path: Path) -> list[Any]:
    """A path and all its parents, each by what the disk knows it by, which is one thing for all of its names."""
    return [_identity(each) for each in (path, *path.parents)]


def _identity(path: Path) -> Any:
    try:
        known = path.stat()
    except (OSError, ValueError):
        return path
    # Some network drives number nothing.
    return (known.st_dev, known.st_ino) if known.st_ino else path


def _real(path: Path) -> Path:
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        raise UserError(f"{str(path)!r} cannot be the name of a file or folder.") from None
