"""Talks with the engine for the scene: one conversation at a time, whose answers become nodes in small portions.

All of it belongs to the main thread, which never stands still: what came from the engine waits in a queue, and each
`poll` works on it for a moment.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.wire import Message
from IterMask3DLib.scene.records import RunProgress, RunState
from IterMask3DLib.scene.run.engine_client import LAST, EngineClient
from IterMask3DLib.scene.run.transport import OpenTransport
from IterMask3DLib.scene.translation import tr as _

BUDGET_SECONDS = 0.02
"""No new portion is begun after this long in one `poll`; the longest portion comes on top."""

_WAIT_SECONDS = 0.2

Portion = Callable[[], None]


class Timer(Protocol):
    """A repeating timer, as qt.QTimer is one."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


TimerFactory = Callable[[Callable[[], None]], Timer]


@dataclass(frozen=True)
class Ask:
    """A request to the engine: see `serve` for what there is."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


Conversation = Generator[Ask | None, Any, Any]
"""Yields requests and is sent the message that ends each; None lets the main thread go for a moment. Returns what was
wanted. An error of the engine closes it."""


def _ignore(*_: Any) -> None:
    """What is called where nobody listens."""


def _log_error(sentence: str, trace: str) -> None:
    """An error that nobody listens for must not be lost."""
    logging.getLogger("IterMask3D").error("%s", f"{sentence}\n{trace}".strip())


@dataclass
class Listener:
    """Who hears of something that runs, on the main thread; either `on_done` or `on_error` is the last that is called.

    Attributes:
        on_step: position of the iteration among all, and its numbers.
        on_progress: a `RunProgress`; on_log: a sentence.
        on_done: what was wanted; on_error: a sentence and, for what nobody expected, a traceback.
    """

    on_step: Callable[[int, Any], None] = _ignore
    on_progress: Callable[[RunProgress], None] = _ignore
    on_done: Callable[[Any], None] = _ignore
    on_error: Callable[[str, str], None] = _log_error
    on_log: Callable[[str], None] = _ignore


def _nothing(message: Message) -> Iterator[Portion]:
    yield from ()


@dataclass
class Job:
    """A conversation with who hears of it.

    Attributes:
        hear: what is to be done about a message before the last one, in portions that may be run one by one.
        settle: is called when nothing is left to do for now.
        ended_by: a sentence once the job cannot go on, because the scene has changed under it; else "".
    """

    conversation: Conversation
    listener: Listener
    hear: Callable[[Message], Iterator[Portion]] = _nothing
    settle: Callable[[], None] = _ignore
    ended_by: Callable[[], str] = lambda: ""


class Controller:
    """The client of the engine and the one job it may have. `on_state_changed` hears of every change of `state`."""

    def __init__(
        self,
        open_transport: OpenTransport,
        timer_factory: TimerFactory | None,
        on_state_changed: Callable[[RunState], None],
    ) -> None:
        self.client = EngineClient(open_transport)
        self.state = RunState.IDLE
        self.progress: RunProgress | None = None
        self._on_state_changed = on_state_changed
        self._timer = timer_factory(self.poll) if timer_factory is not None else None
        self._job: Job | None = None
        self._request = 0
        self._inbox: deque[Message] = deque()
        self._portions: Iterator[Portion] | None = None
        self._gave_way = False
        self._questions: dict[int, Listener] = {}
        self._polling = self._closed = False

    @property
    def busy(self) -> bool:
        """Whether there is a job."""
        return self._job is not None

    def refuse_while_busy(self) -> None:
        """Raises `UserError` where nothing can be started."""
        if self.busy:
            raise UserError(_("Something is running already; cancel it or wait for its end."))
        if self._closed:
            raise UserError(_("The module was closed."))

    def begin(self, job: Job) -> None:
        """Starts a job. Raises `UserError` while there is one."""
        self.refuse_while_busy()
        heard = job.listener.on_progress

        def remember(progress: RunProgress) -> None:
            self.progress = progress
            heard(progress)

        job.listener.on_progress = remember
        self._job, self.progress = job, None
        self._become(RunState.RUNNING)
        self._guarded(lambda: self._turn(None))
        self._start_timer()

    def question(self, ask: Ask, listener: Listener, answer: Callable[[Message], Any]) -> None:
        """Asks something that is no job: it may be asked at any time, and is answered after what runs.

        Args:
            answer: makes what `on_done` hears of the message that answers.
        """
        if self._closed:
            raise UserError(_("The module was closed."))

        def hear(message: Message) -> None:
            self._questions.pop(message.id, None)
            if message.kind == "error":
                listener.on_error(message.fields["sentence"], message.fields["trace"])
            else:
                listener.on_done(answer(message))

        self._questions[self.client.request(ask.kind, ask.fields, ask.arrays, hear)] = listener
        self._start_timer()

    def cancel(self) -> None:
        """Ends the job after the pass that it is at."""
        if self.busy:
            self._become(RunState.CANCELLING)
            self.client.cancel(self._request)

    def pause(self) -> None:
        """Holds the job after the pass that it is at."""
        if self.state is RunState.RUNNING:
            self.client.pause(self._request)
            self._become(RunState.PAUSED)

    def unpause(self) -> None:
        """Lets a paused job go on."""
        if self.state is RunState.PAUSED:
            self.client.unpause(self._request)
            self._become(RunState.RUNNING)

    def abort(self, sentence: str, trace: str = "") -> None:
        """Ends the job at once; what the engine still says about it is not heard."""
        job = self._job
        if job is not None:
            self.client.cancel(self._request)
            self._end(job)
            job.listener.on_error(sentence, trace)

    def poll(self) -> None:
        """Hears the engine and works for a while. A callback that comes back here finds nothing to do."""
        if self._polling or self._closed:
            return
        self._polling = True
        try:
            self.client.poll()
            self._guarded(lambda: self._pump(time.perf_counter() + BUDGET_SECONDS))
        finally:
            self._polling = False
            if self._timer is not None and not self.busy and not self.client.busy:
                self._timer.stop()

    def wait(self) -> None:
        """Sleeps until there is something to hear, and works on it for a while."""
        if not self._inbox and self._portions is None:
            self.client.wait(_WAIT_SECONDS)
        self.poll()

    def end_engine(self, sentence: str) -> None:
        """Ends the engine, and with it what was asked of it. `sentence`: what the job hears."""
        self.abort(sentence)
        questions, self._questions = self._questions, {}
        self.client.close()
        for listener in questions.values():
            listener.on_error(_("The engine was ended; ask again."), "")
        if self._timer is not None:
            self._timer.stop()

    def use(self, open_transport: OpenTransport) -> None:
        """Another engine from now on."""
        self.end_engine(_("Another engine was chosen."))
        self.client = EngineClient(open_transport)

    def close(self) -> None:
        """Ends everything."""
        if not self._closed:
            self._closed = True
            self.end_engine(_("The module was closed; the run was cancelled."))
            self._timer = None

    def _pump(self, deadline: float) -> None:
        while self._job is not None and time.perf_counter() < deadline:
            reason = self._job.ended_by()
            if reason:
                self.abort(reason)
            elif self._portions is not None:
                portion = next(self._portions, None)
                if portion is None:
                    self._portions = None
                else:
                    portion()
            elif self._inbox:
                self._hear(self._job, self._inbox.popleft())
            elif self._gave_way:
                self._turn(None)
            else:
                break
        if self._job is not None:
            self._job.settle()

    def _hear(self, job: Job, message: Message) -> None:
        if message.kind == "error":
            job.settle()
            self._end(job)
            job.listener.on_error(message.fields["sentence"], message.fields["trace"])
        elif message.kind in LAST:
            job.settle()
            self._turn(message)
        else:
            self._portions = job.hear(message)

    def _turn(self, answer: Message | None) -> None:
        """Lets the conversation go on to its next request, or to its end."""
        job = self._job
        assert job is not None
        try:
            ask = job.conversation.send(answer)
        except StopIteration as end:
            if job is self._job:
                # Idle before the callback, which may start the next job.
                self._end(job)
                job.listener.on_done(end.value)
            return
        self._gave_way = ask is None
        if ask is None or job is not self._job:
            return
        self._request = self.client.request(ask.kind, ask.fields, ask.arrays, lambda m: self._on_message(job, m))
        if self.state is RunState.CANCELLING:
            self.client.cancel(self._request)
        elif self.state is RunState.PAUSED:
            self.client.pause(self._request)

    def _on_message(self, job: Job, message: Message) -> None:
        if job is self._job:
            self._inbox.append(message)

    def _guarded(self, work: Callable[[], None]) -> None:
        """A node that cannot be written, or a callback that fails, must end the job and not the timer."""
        job = self._job
        try:
            work()
        except Exception as error:
            if job is None or job is not self._job:
                raise  # A callback failed after the end of its job: there is nothing left to end.
            if isinstance(error, UserError):
                self.abort(str(error))
            else:
                sentence = _("The result could not be written: {error}", error=error)
                self.abort(sentence, traceback.format_exc())

    def _end(self, job: Job) -> None:
        self._job, self._portions, self._gave_way, self._request = None, None, False, 0
        self._inbox.clear()
        self._become(RunState.IDLE)
        with suppress(ValueError):  # It is the conversation itself that led here.
            job.conversation.close()

    def _start_timer(self) -> None:
        if self._timer is not None:
            self._timer.start()

    def _become(self, state: RunState) -> None:
        if state is not self.state:
            self.state = state
            self._on_state_changed(state)
