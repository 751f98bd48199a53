"""What may be written where: results replace only what this program wrote, and never an input."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import reason


def check_target(
    target: Path, inputs: Iterable[Path], overwrite: bool, is_ours: Callable[[Path], bool] = lambda folder: False
) -> None:
    """Raises `UserError` where a folder cannot be written without touching what is not this program's.

    Args:
        target: the folder that is to be written or replaced.
        inputs: what is read; the target may neither be one of them, nor hold one, nor lie in a folder of them.
        overwrite: whether a folder of ours may be replaced.
        is_ours: tells a folder that this program wrote.
    """
    for each in inputs:
        if _touches(target, each):
            raise UserError(f"{target} would be written over the input {each}; choose another output folder.")
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise UserError(f"{target} is no folder; choose another output folder.")
    if not is_ours(target):
        if any(target.iterdir()) or target.is_symlink():
            raise UserError(f"{target} exists and holds no results of this program; move it or choose another folder.")
    elif not overwrite:
        raise UserError(f"{target} exists already; choose another output folder or use --overwrite.")


def is_case(folder: Path, case: str) -> bool:
    """Whether a folder holds the results of a case, by the record of its run."""
    return bool(case_files_in(folder, case))


def case_files_in(folder: Path, case: str) -> list[str]:
    """The files that the record of a case says this program wrote; [] where there is no such record."""
    try:
        record = json.loads((folder / f"{case}_run.json").read_text(encoding="utf-8"))
        files = record.get("files")
    except (OSError, ValueError, AttributeError):
        return []
    if files is None:
        # Earlier versions did not list them.
        return [path.name for path in folder.iterdir() if path.is_file() and path.name.startswith(f"{case}_")]
    return [name for name in files if isinstance(name, str) and Path(name).name == name]


def _touches(target: Path, other: Path) -> bool:
    """Whether a path is the other one, holds it, or lies in it, whatever links and letters' cases lead there."""
    here, there = _real(target), _real(other)
    if other.is_file():
        return any(_same(each, there) for each in (here,)) or _within(there, here)
    return _within(there, here) or _within(here, there)


def _within(inner: Path, outer: Path) -> bool:
    return any(_same(each, outer) for each in (inner, *inner.parents))


def _same(one: Path, other: Path) -> bool:
    if one == other:
        return True
    try:
        return one.samefile(other)
    except OSError:
        return False


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        why = reason(error) if isinstance(error, OSError) else "its links lead in a circle"
        raise UserError(f"{path} cannot be used ({why}).") from None
