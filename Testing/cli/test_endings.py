"""However a command ends, it ends with one line: errors, interrupts, full and closed streams."""

from __future__ import annotations

import csv
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from IterMask3DLib.cli import main
from IterMask3DLib.core.result import Step
from IterMask3DLib.run import run_case
from Testing.cli.command import one_error, run
from Testing.launcher import command_line, environment


def failing(monkeypatch: pytest.MonkeyPatch, case: str, error: BaseException) -> None:
    """Makes the run of one case end in an error after its first step."""

    def broken(given: Any, *more: Any) -> Any:
        for event in run_case(given, *more):
            yield event
            if given.name == case and isinstance(event, Step):
                raise error
        pytest.fail(f"{given.name} was not to end")

    def chosen(given: Any, *more: Any) -> Any:
        return broken(given, *more) if given.name == case else run_case(given, *more)

    monkeypatch.setattr("IterMask3DLib.batch.run_case", chosen)


def test_an_interrupted_run_leaves_nothing(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "scan", KeyboardInterrupt())
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model) == 1
    assert "interrupted" in one_error(capsys)
    assert not list((tmp_path / "out").iterdir())


def test_warnings_of_libraries_are_shown_to_who_asks_python_for_them(
    scan: Path, model: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warned(*given: Any) -> Any:
        warnings.warn("of a library", RuntimeWarning, stacklevel=1)
        return run_case(*given)

    monkeypatch.setattr("IterMask3DLib.batch.run_case", warned)
    for options, shown in ([], 0), (["default"], 1):
        monkeypatch.setattr(sys, "warnoptions", options)
        assert run("segment", scan, "-o", tmp_path / str(shown), "--model", model) == 0
        assert sum("of a library" in str(each.message) for each in recwarn) == shown


def test_what_nobody_foresaw_is_one_line_that_names_a_log_and_the_other_cases_go_on(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(scan, tmp_path / "other.nii.gz")
    failing(monkeypatch, "scan", ZeroDivisionError("a bug\nin many lines " * 99))
    out = tmp_path / "out"
    assert run("segment", scan, tmp_path / "other.nii.gz", "-o", out, "--model", model) == 1
    error = one_error(capsys)
    assert len(error) <= len("error: ") + 300 and str(out / "itermask3d.log") in error
    assert "Traceback" in (out / "itermask3d.log").read_text(encoding="utf-8")
    assert (out / "other" / "other_report.html").exists() and not (out / "scan").exists()
    with (out / "summary.csv").open(encoding="utf-8") as file:
        assert {row["case"]: row["status"] for row in csv.DictReader(file)} == {"scan": "failed", "other": "done"}


def test_too_little_memory_is_told_with_what_there_is(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "scan", MemoryError("Unable to allocate 149. GiB"))
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model) == 1
    error = one_error(capsys)
    assert "not enough memory" in error and "149. GiB" in error and "GB are free" in error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_output_is_told_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command_line("models", "list"),
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "error: not everything could be printed (No space left on device).\n"


@pytest.mark.skipif(os.name == "nt", reason="needs a shell of POSIX")
@pytest.mark.parametrize("ending", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "| true", "2>/dev/full"])
def test_closed_streams_and_readers_that_went_away_cost_nothing(
    ending: str, scan: Path, model: Path, tmp_path: Path
) -> None:
    words = command_line("segment", scan, "-o", tmp_path / "out", "--model", model)
    done = subprocess.run(
        f"{shlex.join(words)} {ending}",
        shell=True,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (tmp_path / "out" / "scan" / "scan_report.html").exists()
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert np.asarray(nibabel.load(tmp_path / "out" / "scan" / "scan_anomaly.nii.gz").dataobj).shape == (40, 48, 40)


TELLING_WHEN_IT_LISTENS = """
import signal, sys
from IterMask3DLib.cli import main
real = signal.signal
real(signal.SIGHUP, signal.SIG_DFL)  # which nohup has ignored, as a shell has the next in its background
real(signal.SIGINT, signal.default_int_handler)
def telling(number, handler):
    before = real(number, handler)
    if number == signal.SIGHUP and signal.signal is telling:
        signal.signal = real
        print("listens", file=sys.__stdout__, flush=True)
    return before
signal.signal = telling
sys.exit(main(sys.argv[1:]))
"""
"""The command line, which says when it has heard of the signals: before that, Python itself starts."""


@pytest.mark.skipif(os.name == "nt", reason="signals are of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0, 0.5, 1.5, 3])
def test_an_interrupt_at_any_moment_is_one_line(
    seconds: float, number: signal.Signals, scan: Path, model: Path, tmp_path: Path
) -> None:
    words = ("segment", scan, "-o", tmp_path / "out", "--model", model, "--sweep-passes", "1000")
    with subprocess.Popen(
        [sys.executable, "-c", TELLING_WHEN_IT_LISTENS, *map(str, words)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as running:
        assert running.stdout is not None and running.stdout.readline() == "listens\n"
        time.sleep(seconds)
        running.send_signal(number)
        printed, told = running.communicate(timeout=60)
    errors = [line for line in told.splitlines() if not line.startswith("scan: ")]
    assert errors == ["error: interrupted; nothing was written for the case at hand."] and running.returncode == 1
    assert printed == "" and not list((tmp_path / "out").glob("*"))


def test_an_interrupt_that_a_library_turns_into_another_error_is_one_still(
    scan: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*given: object) -> None:
        # As libraries in C++ do whose loading is interrupted.
        raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.setattr("IterMask3DLib.run.prepare", interrupted)
    assert main(["segment", str(scan), "-o", str(tmp_path / "out"), "--model", str(model)]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert errors == ["error: interrupted; nothing was written for the case at hand."]
    assert not list((tmp_path / "out").glob("*"))
