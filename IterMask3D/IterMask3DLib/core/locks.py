"""Locks on files and folders that end with the process that holds them, however it ends.

Windows has none for folders, and some network drives have none at all: there nobody is kept out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from IterMask3DLib.core.errors import UserError

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


_numbers: set[int] = set()


def _let_go() -> None:
    """In a process made by forking: a lock ends with the process that took it."""
    for number in _numbers:
        with suppress(OSError):
            os.close(number)
    _numbers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def sole(folder: Path, work: str) -> Iterator[None]:
    """Keeps every other process from the same work in a folder. Raises `UserError` where one is at it."""
    with held(folder) as free:
        if free is False:
            raise UserError(f"Another {work} is at work in {folder}; wait until it ends, or give another folder.")
        yield


@contextmanager
def held(path: Path) -> Iterator[bool | None]:
    """Holds a file or folder, if nobody else does.

    Yields True while it is held, False where another process holds it, None where the disk has no locks.
    """
    number = None
    try:
        if fcntl is None:
            yield None
            return
        try:
            number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            _numbers.add(number)
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            got: bool | None = True
        except BlockingIOError:
            got = False
        except OSError:
            got = None
        yield got
    finally:
        if number in _numbers:
            _numbers.discard(number)
            os.close(number)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits until no other process is inside, for the sake of the lock file `path`, and keeps others out meanwhile."""
    number = _entered(path)
    try:
        yield
    finally:
        if number is not None:
            with suppress(OSError):
                path.unlink()
            os.close(number)


def _entered(path: Path) -> int | None:
    while fcntl is not None:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
        except OSError:
            os.close(number)
            with suppress(OSError):
                path.unlink()
            return None
        except BaseException:
            os.close(number)
            raise
        # Who was inside before has removed the file: then this lock keeps nobody out.
        with suppress(OSError):
            if os.path.samestat(os.fstat(number), path.stat()):
                return number
        os.close(number)
    return None
