"""The contract of the command line, whatever it is given, and what holds a command to it.

Exit 0, 1 or 2; after 1 lines `error: …`, each short; never a traceback, and nothing that nobody foresaw; nothing of the
user's lost; no hidden rests; all of it within a time.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from IterMask3DLib import cli
from IterMask3DLib.core.failures import LOG_FILE
from Testing.launcher import command_line, environment

LONGEST_LINE = 320
LONGEST_SECONDS = 60.0
"""No single command on volumes of this size takes longer, on however busy a machine."""

_UNFORESEEN = ("Traceback", "something unexpected happened", "Exception ignored", "Fatal Python error", "Warning: ")
_REST = re.compile(r"^\.itermask3d-part-|^\..*\.[a-z0-9_]{8}$")


@dataclass(frozen=True)
class Told:
    """How a command ended: its exit code, what it printed, and how long it took."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


def told(*words: object) -> Told:
    """Runs a command line in this process."""
    out, err, begun = io.StringIO(), io.StringIO(), time.monotonic()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 2
    return Told(code, out.getvalue(), err.getvalue(), time.monotonic() - begun)


def told_apart(*words: object, stdin: int | None = subprocess.DEVNULL, **variables: str) -> Told:
    """Runs a command line in a process of its own, with more variables."""
    begun = time.monotonic()
    done = subprocess.run(
        command_line(*words),
        env=environment(**variables),
        stdin=stdin,
        capture_output=True,
        check=False,
        timeout=LONGEST_SECONDS,
    )
    out, err = (each.decode("utf-8", errors="replace") for each in (done.stdout, done.stderr))
    return Told(done.returncode, out, err, time.monotonic() - begun)


def held(ended: Told, *codes: int) -> Told:
    """What was told, once it was found to keep the contract; `codes`: what it may end with (none given: 0, 1, 2)."""
    shown = f"exit {ended.code} after {ended.seconds:.1f} s\n{ended.out[-2000:]}\n{ended.err[-4000:]}"
    assert ended.code in (codes or (0, 1, 2)), shown
    assert ended.seconds < LONGEST_SECONDS, shown
    for word in _UNFORESEEN:
        assert word not in ended.err and word not in ended.out, shown
    if ended.code == 1:
        assert ended.errors, shown
    if ended.code == 2:
        assert re.search(r"^itermask3d[ a-z]*: error: ", ended.err.splitlines()[-1]), shown
        assert len(ended.err.splitlines()[-1]) <= LONGEST_LINE + 40, shown
    for line in ended.errors:
        assert len(line) <= LONGEST_LINE and line.isprintable(), shown
    return ended


def contents(folder: Path) -> dict[str, str]:
    """What lies below a folder: the checksum of each file, where each link leads; logs of this program left out."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            key = os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace")
            if path.is_symlink():
                found[key] = f"-> {path.readlink()}"
            elif path.is_file() and name != LOG_FILE:
                found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def nothing_lost(before: dict[str, str], folder: Path) -> None:
    """Fails where a file that was there is gone or other than it was, or a hidden rest was left."""
    after = contents(folder)
    changed = [name for name, content in before.items() if after.get(name) != content]
    assert not changed, f"lost or changed: {changed}"
    rests = [name for name in after if name not in before and any(_REST.match(part) for part in Path(name).parts)]
    assert not rests, f"left behind: {rests}"


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="streams, devices and names are those of Linux")
