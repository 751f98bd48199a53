"""The event loop keeps Python's lock, as the application's does: a thread starves while it waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)

from PySide6 import QtCore

from Testing.slicer_host import event_loop

WAIT_S = 0.4


class Ticker:
    """A thread that notes how long it had to wait, at the longest, between two steps of its own."""

    def __init__(self) -> None:
        self._stop = False
        self._longest = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        last = time.perf_counter()
        while not self._stop:
            now = time.perf_counter()
            self._longest = max(self._longest, now - last)
            last = now

    def longest_during_a_wait(self) -> float:
        """How long the thread stood still while the event loop waited for a timer that calls no Python."""
        timer = QtCore.QTimer()
        timer.setSingleShot(True)
        self._longest = 0.0
        timer.start(round(1000 * WAIT_S))
        while timer.isActive():
            event_loop.process_events(wait=True)
        time.sleep(0.05)
        return self._longest

    def end(self) -> None:
        self._stop = True
        self._thread.join()


@pytest.fixture
def ticker(host: Any) -> Iterator[Ticker]:
    if not event_loop.holds_gil() and event_loop._from_library() is None:
        pytest.skip("Qt's library is not where the wheel has it on Linux")
    ticker = Ticker()
    yield ticker
    ticker.end()


def test_a_thread_stands_still_while_the_event_loop_waits(ticker: Ticker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(event_loop.VARIABLE, "1")
    assert ticker.longest_during_a_wait() > 0.8 * WAIT_S


def test_a_thread_goes_on_where_the_lock_is_given_up(ticker: Ticker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(event_loop.VARIABLE, "0")
    # The best of three: other programs may hold the processors for a while.
    assert min(ticker.longest_during_a_wait() for _ in range(3)) < 0.5 * WAIT_S


def test_a_thread_runs_while_the_slot_of_a_timer_does(ticker: Ticker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(event_loop.VARIABLE, "1")
    pause = QtCore.QTimer()
    pause.timeout.connect(lambda: time.sleep(0.02))
    pause.start(10)
    assert min(ticker.longest_during_a_wait() for _ in range(3)) < 0.5 * WAIT_S
    pause.stop()


def test_every_way_into_the_event_loop_keeps_the_lock(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(event_loop, "_process", lambda flags: seen.append(flags.value))
    wait = QtCore.QEventLoop.ProcessEventsFlag.WaitForMoreEvents
    host.processEvents()
    QtCore.QCoreApplication.processEvents()
    QtCore.QEventLoop().processEvents(wait)
    event_loop.process_events(wait=True)
    assert seen == [0, 0, wait.value, wait.value]


def test_timers_and_their_slots_run(host: Any) -> None:
    import qt

    heard: list[str] = []
    qt.QTimer.singleShot(5, lambda: heard.append("late"))
    qt.QTimer.singleShot(0, lambda: heard.append("now"))
    while len(heard) < 2:
        event_loop.process_events(wait=True)
    assert heard == ["now", "late"]
