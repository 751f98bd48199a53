"""Locks on files and folders that end with the process that holds them, however it ends.

Windows has none for folders, and some network drives have none at all: there nobody is kept out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


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
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            got: bool | None = True
        except BlockingIOError:
            got = False
        except OSError:
            got = None
        yield got
    finally:
        if number is not None:
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
