"""Files whole or not at all, and tables that no program takes for formulas."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.locks import alone, held

_STAGED = ".itermask3d-part-"
_STALE_SECONDS, _YOUNG_SECONDS = 24 * 3600, 2
"""How old a rest must be: where nothing tells whether it is held, and where it is only not held yet."""

_NAME_END = 60
_FORMULA = ("=", "+", "-", "@", "\t", "\n")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside `path`, with the same ending, that takes its place once it was filled without an error."""
    # The end of the name alone: the whole of it may be as long as a name can be.
    handle, name = tempfile.mkstemp(prefix=_STAGED, suffix=f"-{path.name[-_NAME_END:]}", dir=path.parent)
    os.close(handle)
    staged = Path(name)
    with held(staged):
        try:
            yield staged
            staged.chmod(0o666 & ~_umask())
            os.replace(staged, path)
        finally:
            staged.unlink(missing_ok=True)


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside `target`, gone in the end; what is to stay is moved out of it before that.

    What killed runs left beside it is swept. Raises `UserError` where it cannot be made.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        staged = Path(tempfile.mkdtemp(prefix=f"{_STAGED}{target.name}.", dir=target.parent))
    except OSError as error:
        raise UserError(f"{target} cannot be written ({reason(error)}); choose another place.") from None
    with held(staged):
        try:
            staged.chmod(0o777 & ~_umask())
            yield staged
        except OSError as error:
            why = f"{target} cannot be written ({reason(error)})"
            raise UserError(f"{why}; free space or choose another place.") from None
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def check_folder(folder: Path) -> None:
    """Raises `OSError` where nothing can be made in a folder, which is made itself."""
    folder.mkdir(parents=True, exist_ok=True)
    Path(tempfile.mkdtemp(prefix=_STAGED, dir=folder)).rmdir()


def take_place(staged: Path, target: Path, meet: Callable[[], Iterable[Path]] = lambda: ()) -> None:
    """Puts a folder in the place of `target`; of several processes that do so at once, one after another.

    What stood there goes last, and comes back if the new one cannot take its place.

    Args:
        staged: the new folder, on the same disk.
        target: where it goes; may exist.
        meet: asked where something stands there, when nobody else can change it any more: gives its entries that are to
            be found in the new folder, or raises where it is to stay.
    """
    with alone(target.parent / f"{_STAGED}{target.name}.lock"):
        if not os.path.lexists(target):
            os.replace(staged, target)
            return
        keep = list(meet())
        earlier = Path(tempfile.mkdtemp(prefix=f"{_STAGED}{target.name}.old.", dir=target.parent))
        with held(earlier):
            _exchange(staged, target, earlier / "folder", keep)
            shutil.rmtree(earlier, ignore_errors=True)


def _exchange(staged: Path, target: Path, earlier: Path, keep: Iterable[Path]) -> None:
    moved: list[tuple[Path, Path]] = []
    try:
        os.replace(target, earlier)
        for entry in keep:
            there, here = earlier / entry.name, staged / entry.name
            os.replace(there, here)
            moved.append((here, there))
        os.replace(staged, target)
    except BaseException:  # An interrupt, too, must not cost the user what stood there.
        for here, there in reversed(moved):
            os.replace(here, there)
        if earlier.exists():
            os.replace(earlier, target)
        earlier.parent.rmdir()
        raise


def sweep(folder: Path) -> None:
    """Removes what killed runs left in a folder: what no process holds any more."""
    for left in folder.glob(f"{_STAGED}*"):
        with suppress(OSError):
            age = time.time() - left.stat().st_mtime
            with held(left) as free:
                if age <= (_STALE_SECONDS if free is None else _YOUNG_SECONDS) or free is False:
                    continue
                target = folder / left.name.removeprefix(_STAGED).rsplit(".old.", 1)[0]
                if ".old." in left.name and (left / "folder").is_dir() and not target.exists():
                    # What a run was replacing when it was killed comes back where nothing took its place.
                    os.replace(left / "folder", target)
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def write_text(path: Path, text: str) -> None:
    """A text file, whole, UTF-8 with LF."""
    with whole_file(path) as staged:
        # A name that is not UTF-8 is written with escapes, which JSON reads as the name again.
        staged.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """A JSON file, whole; numbers that are not finite become null."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """`value` as JSON with only what JSON has: no NaN, no infinity, no numpy numbers, no paths."""
    return json.dumps(plain(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """A value with only what JSON has: numbers that are not finite become None, whatever else is unknown its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # Arrays and numbers of numpy, which need not be imported for this.
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A CSV file, whole; texts that a spreadsheet would run as a formula get a quotation mark in front."""
    with whole_file(path) as staged, staged.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([harmless(cell) for cell in row] for row in (columns, *rows))


def harmless(cell: Any) -> Any:
    """A cell that no spreadsheet runs: numbers, also as texts, stay as they are."""
    if not isinstance(cell, str):
        return cell
    # A carriage return would end the row, for the csv module does not quote it.
    cell = cell.replace("\r\n", "\n").replace("\r", "\n")
    if not cell.startswith(_FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def check_plain(path: Path) -> None:
    """Raises `UserError` for what is there and is no plain file: a pipe or a device would give bytes without an end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return  # Who opens it says why it cannot be.
    if not stat.S_ISREG(mode):
        raise UserError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'a device or a pipe'}; a file is needed.")


def read_plain(path: Path, advice: str = "") -> bytes:
    """A plain file. Raises `UserError`, whose sentence ends with the advice."""
    check_plain(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason(error)}){advice}.") from None


def reason(error: OSError) -> str:
    """Why the system refused, in its words."""
    return error.strerror or type(error).__name__


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
