"""The engine for tests of the scene: its real process, started once, between which and the scene a test can stand.

A test can let it make only so many passes, let one of them fail, and count what was asked. The models are real ones
whose networks are tiny; the one of `blind_model` gives nothing back, so that every error is the squared scaled
intensity.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from IterMask3DLib.core.wire import Decoder, Message, encode
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.models.store import save_model
from IterMask3DLib.scene.run.engine_client import engine_command
from IterMask3DLib.scene.run.transport import OnData, OnEnd
from Testing.brains import toy_card

LONGEST_SECONDS = 120.0
"""Nothing takes longer, on however busy a machine."""

AHEAD = 12
"""Passes that the engine may have made, at most, beyond those that were read: computed, queued and in the pipe."""

_CHUNK = 65536


SWEEP = 6
"""Passes of the sweep of a `blind_model`."""


def blind_model(folder: Path, **settings: Any) -> Path:
    """A model folder with a network that gives back zeros, on voxels of 4 mm. `settings`: of the method."""
    card = toy_card(folder.name)
    card = replace(card, settings={**card.settings, "sweep_passes": SWEEP, **settings})
    save_model(folder, card, {"reconstruction": zeros()})
    return folder


def zeros() -> dict[str, torch.Tensor]:
    """The weights of the smallest network, all of them 0."""
    return {name: torch.zeros_like(value) for name, value in UNet3D((2,) * 5).state_dict().items()}


@dataclass
class Gate:
    """What stands between the engine and the scene.

    Attributes:
        steps: passes that may still come through; None: all.
        fails_at: number of the pass that fails, with what is said of it then.
        whole_every: of the sweep, only every so many passes have more than their mask, as where memory is short.
        asked: how often each kind of request was made; seen: phase and number of every pass that came through.
    """

    steps: int | None = None
    fails_at: int = 0
    failure: tuple[str, str] = ("", "")
    whole_every: int = 1
    asked: Counter[str] = field(default_factory=Counter)
    seen: list[tuple[str, int]] = field(default_factory=list)

    def allow(self, steps: int | None) -> None:
        """Lets so many passes more come through; None: all."""
        self.steps = None if steps is None else (self.steps or 0) + steps


class TestEngine:
    """The process, and a link for each client. It is read only as far as the gate lets messages through."""

    __test__ = False

    def __init__(self, **environment: str) -> None:
        self.gate = Gate()
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._decoder = Decoder()
        self._links: dict[int, tuple[Link, int]] = {}
        self._open: list[Link] = []
        self._waiting: deque[Message] = deque()
        self._last = 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def open(self, on_data: OnData, on_end: OnEnd) -> Link:
        """What an `EngineClient` is given to reach the engine."""
        if self._process is None or self._process.poll() is not None:
            command = engine_command()
            self._decoder, self._waiting = Decoder(), deque()
            self._process = subprocess.Popen(
                command.arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={**os.environ, **command.environment, "OMP_NUM_THREADS": "1", **self._environment},
                start_new_session=True,
            )
        self._open.append(Link(self, on_data, on_end))
        return self._open[-1]

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin and self._process.stdout
            self._process.stdin.close()
            self._process.wait(LONGEST_SECONDS)
            self._process.stdout.close()

    def ask(self, link: Link, message: Message) -> int:
        """Passes a request on under a number that no other link uses."""
        self._last += 1
        self._links[self._last] = (link, message.id)
        if message.id:
            self.gate.asked[message.kind] += 1
        self.tell(message.kind, self._last, message)
        return self._last

    def tell(self, kind: str, number: int, message: Message | None = None) -> None:
        assert self._process is not None and self._process.stdin is not None
        sent = Message(kind, number, *((message.fields, message.arrays) if message is not None else ()))
        with suppress(OSError):  # It was killed, as the end of its output says.
            self._process.stdin.write(b"".join(encode(sent)))

    def drop(self, link: Link) -> None:
        """A link was closed: what it asked for is cancelled, and nobody hears of it."""
        self._open = [each for each in self._open if each is not link]
        for number in [n for n, (owner, _) in self._links.items() if owner is link]:
            self.tell("cancel", number)
            del self._links[number]

    def hear(self, seconds: float) -> bool:
        """Hands messages to their links, as far as the gate lets them; reads only what is needed for the next one."""
        deadline = time.monotonic() + seconds
        while True:
            while self._waiting:
                if not self._let_through(self._waiting[0]):
                    # Its reader sleeps as well, so that a waiting test does not spin.
                    time.sleep(min(0.002, max(0.0, deadline - time.monotonic())))
                    return False
                self._waiting.popleft()
                return True
            assert self._process is not None and self._process.stdout is not None
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return False
            data = os.read(self._process.stdout.fileno(), _CHUNK)
            if not data:
                self._ended()
                return True
            self._waiting.extend(self._decoder.feed(data))

    def _let_through(self, message: Message) -> bool:
        link, number = self._links.get(message.id, (None, 0))
        if link is None:
            return True
        gate = self.gate
        if message.kind == "step":
            if gate.steps == 0:
                return False
            if message.fields["number"] == gate.fails_at:
                sentence, trace = gate.failure
                del self._links[message.id]
                self.tell("cancel", message.id)
                link.deliver(Message("error", number, {"sentence": sentence, "trace": trace}))
                return True
            gate.steps = None if gate.steps is None else gate.steps - 1
            gate.seen.append((message.fields["phase"], message.fields["number"]))
            if message.fields["phase"] == "sweep" and (message.fields["number"] - 1) % gate.whole_every:
                fields = {**message.fields, "layers": {"mask": "mask"}}
                message = Message(message.kind, message.id, fields, {"mask": message.arrays["mask"]})
        link.deliver(Message(message.kind, number, message.fields, message.arrays))
        return True

    def _ended(self) -> None:
        assert self._process is not None
        code = self._process.wait()
        links, self._open = self._open, []
        self._links.clear()
        for link in links:
            link.on_end(code, "")


class Link:
    """The transport of one client."""

    def __init__(self, engine: TestEngine, on_data: OnData, on_end: OnEnd) -> None:
        self._engine, self._on_data, self.on_end = engine, on_data, on_end
        self._decoder = Decoder()
        self._numbers: dict[int, int] = {}

    def write(self, data: bytes) -> None:
        for message in self._decoder.feed(data):
            if message.kind in ("cancel", "pause", "unpause"):
                self._engine.tell(message.kind, self._numbers[message.id])
            else:
                self._numbers[message.id] = self._engine.ask(self, message)

    def wait(self, seconds: float) -> bool:
        return self._engine.hear(seconds)

    def deliver(self, message: Message) -> None:
        self._on_data(b"".join(encode(message)))

    def close(self) -> None:
        self._engine.drop(self)
        self.on_end(0, "")

    def kill(self) -> None:
        self.close()


class Clicker:
    """A timer that a test owns: `tick` does what the event loop would."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self.active = False

    def start(self) -> None:
        self.active = True

    def stop(self) -> None:
        self.active = False

    def tick(self) -> None:
        if self.active:
            self._call()


def pump(logic: Any, until: Callable[[], Any]) -> None:
    """Polls until something holds; fails after a long while."""
    end = time.monotonic() + LONGEST_SECONDS
    while not until():
        assert time.monotonic() < end, "it did not come to pass"
        logic.poll()
        time.sleep(0.001)


def settled(logic: Any) -> None:
    """Polls until nothing runs."""
    pump(logic, lambda: not logic.busy)
