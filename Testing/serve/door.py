"""A door for tests: it asks the engine's process and keeps what it answers."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from IterMask3DLib.core.image import Image
from IterMask3DLib.core.wire import Message
from IterMask3DLib.scene.run.engine_client import EngineClient, engine_command
from IterMask3DLib.scene.run.transport import Command, pipes_to

LONGEST_SECONDS = 120.0
"""No answer takes longer, on however busy a machine."""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")


@dataclass
class Asked:
    """A request on its way; `messages`: what came of it so far."""

    id: int
    messages: list[Message] = field(default_factory=list)

    @property
    def ended(self) -> Message:
        """The message that ended it."""
        return self.messages[-1]

    @property
    def sentence(self) -> str:
        """What went wrong."""
        assert self.ended.kind == "error", self.kinds
        return str(self.ended.fields["sentence"])

    @property
    def kinds(self) -> list[str]:
        return [message.kind for message in self.messages]

    def all(self, kind: str) -> list[Message]:
        return [message for message in self.messages if message.kind == kind]

    def the(self, kind: str) -> Message:
        (found,) = self.all(kind)
        return found


@dataclass
class Door:
    """Asks, and waits for answers."""

    client: EngineClient

    def start(self, kind: str, fields: Mapping[str, Any] | None = None, **arrays: NDArray[Any]) -> Asked:
        asked = Asked(0)
        named = {name.replace("__", ":"): array for name, array in arrays.items()}
        asked.id = self.client.request(kind, fields, named, asked.messages.append)
        return asked

    def ask(self, kind: str, fields: Mapping[str, Any] | None = None, **arrays: NDArray[Any]) -> Asked:
        asked = self.start(kind, fields, **arrays)
        assert self.client.wait(LONGEST_SECONDS)
        return asked

    def prepare(self, image: Image, model: Path, key: str = "one", **more: Any) -> Asked:
        """Asks for a case to be prepared; `more`: choices of the request."""
        return self.ask(
            "prepare", case_fields(image, key, model, **more), image__T1w=np.ascontiguousarray(image.array.T)
        )

    def until(self, there: Callable[[], bool]) -> None:
        """Polls until something is the case."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while not there():
            assert time.monotonic() < deadline
            self.client.poll()
            time.sleep(0.002)


def case_fields(image: Image, key: str, model: Path, **more: Any) -> dict[str, Any]:
    return {
        "key": key,
        "case": image.name,
        "channels": ["T1w"],
        "affines": {"T1w": image.affine},
        "sources": {"T1w": image.source},
        "request": {"model": str(model), "device": "cpu", "backend": "pytorch", **more},
    }


def command(*folders: Path, **environment: str) -> Command:
    """How the engine is started, with more folders to import from."""
    usual = engine_command()
    paths = os.pathsep.join((usual.environment["PYTHONPATH"], *map(str, folders)))
    return Command(usual.arguments, {**usual.environment, "PYTHONPATH": paths, **environment})


@contextmanager
def opened(started_by: Command) -> Iterator[Door]:
    client = EngineClient(pipes_to(started_by))
    try:
        yield Door(client)
    finally:
        client.close()


def marked(mark: str) -> list[int]:
    """The processes with a variable of their environment that holds `mark`, zombies left out."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except (OSError, ValueError):
            continue
    return found


def eventually(there: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether something gets to be the case."""
    deadline = time.monotonic() + seconds
    while not there() and time.monotonic() < deadline:
        time.sleep(0.01)
    return there()
