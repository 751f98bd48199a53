"""Starts jobs on the worker and hears them: states, callbacks, and the portions in which the main thread writes nodes."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene.messages import EndMessage, FailMessage, Message
from IterMask3DLib.scene.receiver import Listener, Task
from IterMask3DLib.scene.records import Progress, RunState
from IterMask3DLib.scene.words import tr as _
from IterMask3DLib.scene.worker import Job, Worker

BUDGET_SECONDS = 0.03
"""No new portion is begun after this long in one `poll`; the longest portion comes on top."""

_WAIT_SECONDS = 0.2


class Timer(Protocol):
    """A repeating timer, as qt.QTimer is one."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


TimerFactory = Callable[[Callable[[], None]], Timer]


class Receiver(Protocol):
    """Writes what a job says."""

    listener: Listener

    @property
    def alive(self) -> bool: ...

    def tasks(self, message: Message) -> Iterator[Task]: ...

    def settle(self) -> None: ...


class Runs:
    """The worker and the one job it may have. `onStateChanged` hears of every change of `state`."""

    def __init__(self, timerFactory: TimerFactory | None, onStateChanged: Callable[[RunState], None]) -> None:
        self.state = RunState.IDLE
        self.progress: Progress | None = None
        self._onStateChanged = onStateChanged
        self._worker = Worker()
        self._timer = timerFactory(self.poll) if timerFactory is not None else None
        self._run = 0
        self._receiver: Receiver | None = None
        self._tasks: deque[Iterator[Task]] = deque()
        self._closing = False
        self._polling = False

    @property
    def busy(self) -> bool:
        return self._receiver is not None

    def launch(self, job: Job, receiver: Receiver) -> int:
        """Starts a job. Raises `UserError` while there is one."""
        if self.busy:
            raise UserError(_("Something is running already; cancel it or wait for its end."))
        if self._closing:
            raise UserError(_("The module was closed."))
        listener = receiver.listener
        heard = listener.onProgress

        def remember(progress: Progress) -> None:
            self.progress = progress
            heard(progress)

        listener.onProgress = remember
        self._receiver, self.progress = receiver, None
        self._run = self._worker.submit(job)
        self._become(RunState.RUNNING)
        if self._timer is not None:
            self._timer.start()
        return self._run

    def cancel(self) -> None:
        if self.busy:
            self._worker.cancel()
            self._become(RunState.CANCELLING)

    def pause(self) -> None:
        if self.state is RunState.RUNNING:
            self._worker.pause(True)
            self._become(RunState.PAUSED)

    def resume(self) -> None:
        if self.state is RunState.PAUSED:
            self._worker.pause(False)
            self._become(RunState.RUNNING)

    def abort(self, sentence: str) -> None:
        """Ends the job for the main thread at once; what the worker still says about it is not heard."""
        receiver = self._receiver
        if receiver is None:
            return
        self._worker.cancel()
        self._ended()
        receiver.listener.onError(sentence, "")

    def poll(self) -> None:
        """Hears the worker and writes for a while. A callback that comes back here finds nothing to do."""
        if self._polling or not self.busy:
            return
        self._polling = True
        try:
            self._pump(time.perf_counter() + BUDGET_SECONDS)
        except Exception as error:  # A node that cannot be written must end the run, not the timer.
            if not self.busy:
                raise  # A callback failed after the end of its run: there is nothing left to end.
            self._fail(error, traceback.format_exc())
        finally:
            self._polling = False

    def wait(self) -> None:
        """Polls until the job has ended, and sleeps while there is nothing to hear."""
        while self.busy:
            if not self._tasks:
                self._worker.wait(_WAIT_SECONDS)
            self.poll()

    def close(self) -> None:
        self._closing = True
        self.abort(_("The module was closed; the run was cancelled."))
        self._worker.close()
        if self._timer is not None:
            self._timer.stop()
        self._timer = None

    def _pump(self, deadline: float) -> None:
        while self._receiver is not None and time.perf_counter() < deadline:
            if not self._receiver.alive:
                self.abort(_("The volume was removed from the scene; the run was cancelled."))
                return
            if self._tasks:
                self._advance()
                continue
            taken = self._worker.take()
            if taken is None:
                break
            run, message = taken
            if run == self._run:
                self._hear(message)
        if self._receiver is not None:
            self._receiver.settle()

    def _advance(self) -> None:
        task = next(self._tasks[0], None)
        if task is None:
            self._tasks.popleft()
        else:
            task()

    def _hear(self, message: Message) -> None:
        assert self._receiver is not None
        receiver = self._receiver
        if isinstance(message, (EndMessage, FailMessage)):
            # Idle before the callbacks, which may start the next run.
            receiver.settle()
            tasks = list(receiver.tasks(message))
            self._ended()
            for task in tasks:
                task()
        else:
            self._tasks.append(receiver.tasks(message))

    def _fail(self, error: Exception, trace: str) -> None:
        receiver = self._receiver
        assert receiver is not None
        self._worker.cancel()
        self._ended()
        receiver.listener.onError(_("The result could not be written: {error}").format(error=error), trace)

    def _ended(self) -> None:
        self._receiver = None
        self._run = -1
        self._tasks.clear()
        if self._timer is not None:
            self._timer.stop()
        self._become(RunState.IDLE)

    def _become(self, state: RunState) -> None:
        if state is not self.state:
            self.state = state
            self._onStateChanged(state)
