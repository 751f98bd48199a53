"""One thread that does the computing, and the queue it fills. It knows neither Qt nor MRML.

One thread for everything, because the kernels that a CUDA library chose are kept by thread: a new thread for each run would choose them again.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene.messages import EndMessage, FailMessage, Message

_WAITING = 8
"""Messages that may wait to be read: a fast GPU must not fill the memory with volumes nobody has looked at."""

_CLOSING_SECONDS = 5.0


class Cancelled(Exception):
    """Raised in the worker, by `Control.checkpoint`, once the run was cancelled."""


class Control:
    """What a job holds of the main thread: where to post, and whether to go on."""

    def __init__(self, worker: Worker, run: int) -> None:
        self._worker, self._run = worker, run
        self._began, self._paused = time.perf_counter(), 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the job began, pauses left out."""
        return time.perf_counter() - self._began - self._paused

    def checkpoint(self) -> None:
        """Waits while the run is paused. Raises `Cancelled` once it is cancelled."""
        begun = time.perf_counter()
        self._worker.waitWhilePaused(self._run)
        self._paused += time.perf_counter() - begun
        if self._worker.isCancelled(self._run):
            raise Cancelled

    def post(self, message: Message) -> None:
        """Hands a message over; waits while too many are unread."""
        begun = time.perf_counter()
        self._worker.put(self._run, message)
        self._paused += time.perf_counter() - begun


Job = Callable[[Control], None]


class Worker:
    """Runs one job at a time; the owner calls `take` to hear of it and `close` at the end."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._messages: deque[tuple[int, Message]] = deque()
        self._job: tuple[int, Job] | None = None
        self._thread: threading.Thread | None = None
        # A number and not a flag: the next run may be asked for while a cancelled one still ends its last pass.
        self._runs = self._cancelled = 0
        self._pause = self._closed = False

    def isCancelled(self, run: int) -> bool:
        return self._closed or run <= self._cancelled

    def submit(self, job: Job) -> int:
        """Starts a job as soon as the thread is free, and returns the number that its messages carry. Older messages are dropped."""
        with self._changed:
            if self._closed:
                raise RuntimeError("The worker was closed.")
            self._runs += 1
            self._job, self._pause = (self._runs, job), False
            self._messages.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="IterMask3D", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return self._runs

    def take(self) -> tuple[int, Message] | None:
        """The oldest unread message with the number of its run, or None."""
        with self._changed:
            if not self._messages:
                return None
            self._changed.notify_all()
            return self._messages.popleft()

    def wait(self, seconds: float) -> None:
        """Sleeps until there is a message, at most `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._messages), seconds)

    def cancel(self) -> None:
        with self._changed:
            self._cancelled, self._pause = self._runs, False
            self._changed.notify_all()

    def pause(self, on: bool) -> None:
        with self._changed:
            self._pause = on
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the thread; a pass that has begun is waited for, for a few seconds. What is unread is dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_CLOSING_SECONDS)
        self._messages.clear()

    def waitWhilePaused(self, run: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.isCancelled(run) or not self._pause)

    def put(self, run: int, message: Message) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.isCancelled(run) or len(self._messages) < _WAITING)
            self._messages.append((run, message))
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._job is not None)
                if self._closed or self._job is None:
                    return
                (run, job), self._job = self._job, None
            self._run(Control(self, run), job)
            # Held by this frame, the job's arrays would stay until the next one.
            del job

    def _run(self, control: Control, job: Job) -> None:
        try:
            job(control)
            control.post(EndMessage(False, control.elapsed))
        except Cancelled:
            control.post(EndMessage(True, control.elapsed))
        except UserError as error:
            control.post(FailMessage(str(error), ""))
        except Exception as error:  # The thread must live on, and the user must hear of it.
            control.post(FailMessage(f"The run failed: {error or type(error).__name__}.", traceback.format_exc()))
