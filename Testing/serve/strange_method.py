"""A method that does on request what no method should, as a package of its own on the path of the engine."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.result import Layer, Result, Step
from IterMask3DLib.core.settings import setting
from IterMask3DLib.methods.base import Capability, Method, MethodSpec

TRICKS = ("none", "sleep", "print", "raise", "numpy memory", "torch memory", "ration", "crash", "exit", "tool", "flood")


@dataclass(frozen=True)
class Settings:
    trick: str = setting("choice", "none", "Trick", "what it does", choices=TRICKS)


class Strange(Method):
    """Takes one step, and then a trick."""

    def build(self, card: ModelCard) -> dict[str, Any]:
        return {}

    def infer(self, case: Any, model: Any, settings: Any, runtime: Any) -> Generator[Step, None, Result]:
        mask = Layer.mask(case.brain)
        yield Step(1, 2, "one", 0.0, {}, {"mask": mask})
        trick(settings.trick)
        if settings.trick == "flood":
            for number in range(2, 30):
                yield Step(number, 30, "flood", 0.0, {}, {"noise": Layer.score(np.ones((200, 100, 100), np.float32))})
        return Result({"anomaly": mask, "heatmap": Layer.score(case.brain.astype(np.float32))}, case_score=1.0)


def trick(name: str) -> None:
    if name == "sleep":
        time.sleep(60)
    elif name == "print":
        print("printed by Python")
        os.write(1, b"written to the file descriptor\n")
        ctypes.CDLL(None).puts(b"printed by C")
        ctypes.CDLL(None).fflush(None)
    elif name == "raise":
        raise ZeroDivisionError("nobody foresaw this")
    elif name == "numpy memory":
        np.empty(2**50, np.uint8)
    elif name == "torch memory":
        import torch

        torch.empty(2**50, dtype=torch.uint8)
    elif name == "ration":
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
    elif name == "crash":
        ctypes.string_at(0)
    elif name == "exit":
        os._exit(3)
    elif name == "tool":
        subprocess.run(["sleep", "60"], check=True)


SPEC = MethodSpec(
    "strange", "Strange", "nobody", frozenset({Capability.SEGMENTATION}), Settings, "strange_method:Strange"
)
CARD = ModelCard("strange", "Strange", "strange", ("T1w",), CardGrid(4.0, (48, 48, 48)), {})


def install(folder: Path) -> tuple[Path, Path]:
    """Makes the package of this method, as a package installer would, and a model of it: both folders."""
    package, model = folder / "packages", folder / "strange"
    about = package / "strange_method-1.dist-info"
    about.mkdir(parents=True)
    (package / "strange_method.py").write_bytes(Path(__file__).read_bytes())
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: strange-method\nVersion: 1\n", encoding="utf-8")
    (about / "entry_points.txt").write_text("[itermask3d.methods]\nstrange = strange_method:SPEC\n", encoding="utf-8")
    model.mkdir()
    (model / "card.json").write_text(CARD.to_json(), encoding="utf-8")
    return package, model
