"""What a user is told when something went wrong that nobody foresaw: one line, and where the rest is written."""

from __future__ import annotations

import os
import traceback
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import reason

LOG_FILE = "itermask3d.log"
_LONGEST = 300
_MEMORY = ("out of memory", "allocate memory", "bad_alloc", "bad alloc")
"""How libraries in C++ say that there is no memory."""


def one_line(text: str) -> str:
    """A text on one line of at most 300 letters, with nothing in it that moves a cursor; its end is kept."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(flat) <= _LONGEST:
        return flat
    half = (_LONGEST - 3) // 2
    return f"{flat[:half]}...{flat[-half:]}"


def is_memory(error: BaseException) -> bool:
    """Whether something went wrong because memory ran out."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _MEMORY)


def is_interrupt(error: BaseException) -> bool:
    """Whether an interrupt lies behind an error: a library that is being loaded makes an `ImportError` of it."""
    chain: BaseException | None = error
    while chain is not None and not isinstance(chain, KeyboardInterrupt):
        chain = chain.__cause__ or chain.__context__
    return chain is not None


def explained(error: BaseException, log_folder: Path | None = None) -> str:
    """An error as one line for a user.

    What nobody foresaw goes with its traceback into a log file, which the line names.

    Args:
        log_folder: where the log file is; None: no log is kept.
    """
    if isinstance(error, UserError):
        return one_line(str(error))
    if is_memory(error):
        return one_line(
            f"there is not enough memory ({error or 'the system gave none'}; {_memory()}); crop or resample it."
        )
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # Of `Path.resolve`.
        return one_line(f"{error}; remove the links that lead in a circle.")
    if isinstance(error, OSError):
        return one_line(f"{error.filename or 'the system'}: {reason(error)}.")
    where = _logged(error, log_folder) if log_folder is not None else None
    told = f"something unexpected happened ({type(error).__name__}: {error})"
    return one_line(f"{told}; the details are in {where}." if where else f"{told}.")


def _logged(error: BaseException, folder: Path) -> Path | None:
    path = folder / LOG_FILE
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return None  # It would be written where the user does not expect it.
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}\n")
            file.write("".join(traceback.format_exception(type(error), error, error.__traceback__)) + "\n")
        return path
    return None


def _memory() -> str:
    """How much memory the machine has, in words."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return "the system does not say how much there is"
    return f"{free / 1e9:.1f} of {total / 1e9:.1f} GB are free"
