"""Starting the command line in several processes, as a user does on a machine with several GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "IterMask3D"


def command_line(*arguments: object, processes: int = 1) -> list[str]:
    """The words that start `itermask3d`, alone or in several processes that torchrun launches."""
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [sys.executable, *(several if processes > 1 else []), "-m", "IterMask3DLib.cli", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """The variables a started process gets: this checkout's sources, one thread, no GPU."""
    path = os.pathsep.join(filter(None, (str(SOURCES), os.environ.get("PYTHONPATH"))))
    settings = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **settings, **more}


def launch(*arguments: object, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """Runs the command line to its end and gives its exit code and output."""
    return _ended(command_line(*arguments, processes=processes))


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Likewise a script in a process of its own, with more variables."""
    return _ended([sys.executable, "-c", code], **variables)


def _ended(words: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    where = environment(**variables)
    return subprocess.run(words, env=where, capture_output=True, encoding="utf-8", check=False, timeout=300)
