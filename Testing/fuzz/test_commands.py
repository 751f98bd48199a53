"""Words, streams, variables and names that nobody means, given to the command line."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from IterMask3DLib.batch import CaseFiles
from IterMask3DLib.core.settings import about
from IterMask3DLib.methods.registry import method_specs
from Testing.fuzz.contract import contents, held, linux, nothing_lost, told, told_apart
from Testing.fuzz.rounds import rounds
from Testing.launcher import command_line, environment

WORDS = [
    *(
        "",
        "-",
        "--",
        "-1",
        "nan",
        "1e999",
        "9" * 5000,
        "\udce9",
        "a\nb\x1b[31m",
        "x" * 3000,
        "../..",
        "/dev/zero",
        "a=b",
    ),
]
LINES: list[tuple[Any, ...]] = [
    (),
    *((word,) for word in WORDS),
    *(("segment", word, "-o", "out", "--model", "toy") for word in WORDS),
    *(("segment", "a.nii", "-o", word, "--model", "none") for word in WORDS if word not in ("../..", "/")),
    *(("segment", "a.nii", "-o", "out", "--model", word) for word in WORDS),
    *(("segment", "a.nii", "-o", "out", "--seed", word) for word in WORDS),
    *(("segment", "a.nii", "-o", "out", "--gamma", word) for word in WORDS),
    *(("segment", "a.nii", "-o", "out", "--brain-mask", word) for word in WORDS),
    *(("segment", "--input", f"{word}={word}", "-o", "out") for word in WORDS),
    *(("models", action, word) for action in ("list", "show", "verify", "install") for word in WORDS),
    *(("convert", word, "-o", "out") for word in WORDS),
    *(
        ("convert", "a.pt", "-o", "out", option, word)
        for option in ("--spacing", "--shape", "--modality", "--gamma")
        for word in WORDS[3:8]
    ),
    *(("calibrate", word, word, "-o", "out") for word in WORDS),
    *(("evaluate", kind, word, "-o", "out") for kind in ("all", "labelled") for word in WORDS if word != "../.."),
    ("evaluate", "all", "data", "-o", "out", "--seed", "-1"),
    ("evaluate", "all", "data", "-o", "out", "--gamma", "nan"),
    ("evaluate", "all", "data", "-o", "out", "--brains", "-1"),
    ("train", "data", "-o", "run", "--workers", "-1"),
    ("train", "data", "-o", "run", "--steps", "0"),
    *(("train", word, "-o", "run") for word in WORDS),
]


def test_every_line_of_words_is_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("precious")
    before = contents(tmp_path)
    failed = []
    for words in LINES:
        try:
            ended = told(*words)
            # Nothing is asked for where a folder is listed, or two dashes end the words.
            usual = words[:2] == ("models", "list") or words[-1:] == ("--",)
            held(ended, *((0, 1, 2) if usual else (1, 2)))
            assert len(ended.err) < 20000
        except AssertionError as error:
            failed.append(f"{words!r:.200}: {error!s:.1500}")
    nothing_lost(before, tmp_path)
    assert not failed, "\n\n".join(failed)


def test_single_settings_of_other_values(
    scan: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What passes the options is met by the method's own checks; the volume itself is not read."""
    monkeypatch.setattr(CaseFiles, "read", lambda self: (_ for _ in ()).throw(OSError(5, os.strerror(5))))
    names = sorted({name for spec in method_specs().values() for name in about(spec.Settings)})
    values = st.one_of(st.sampled_from(WORDS), st.integers().map(str), st.floats().map(str), st.text(max_size=8))

    def check(name: str, value: str) -> None:
        option = f"--{name.replace('_', '-')}"
        held(told("segment", scan, "-o", tmp_path / "out", "--model", model, f"{option}={value}"), 1, 2)

    rounds(check, 60, name=st.sampled_from(names), value=values)


def test_names_of_files(scan: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    letters = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=40)
    bytes_ = st.binary(min_size=1, max_size=40).filter(lambda name: not {0, 47} & set(name)).map(os.fsdecode)

    def check(name: str) -> None:
        path = tmp_path / "mine" / f"{name}.nii.gz"
        try:
            shutil.copy(scan, path)
        except OSError:
            return
        before = contents(tmp_path / "mine")
        quick = ("--backend", "pytorch", "--sweep-passes", 1, "--max-shrink", 1, "--overwrite")
        held(told("segment", path, "-o", tmp_path / "out", "--model", model, *quick), 0)
        nothing_lost(before, tmp_path / "mine")
        path.unlink()

    rounds(check, 8, name=st.one_of(letters, bytes_))


VARIABLES = {
    "no home": {"HOME": "", "XDG_DATA_HOME": "", "XDG_STATE_HOME": ""},
    "home that is a file": {"HOME": "/dev/null", "XDG_DATA_HOME": "/dev/null/x", "XDG_STATE_HOME": "/dev/null/x"},
    "half of torchrun": {"MASTER_ADDR": "localhost"},
    "nonsense of torchrun": {"MASTER_ADDR": "x", "RANK": "first", "WORLD_SIZE": "-1", "LOCAL_RANK": ""},
    "rank beyond the world": {"MASTER_ADDR": "x", "RANK": "7", "WORLD_SIZE": "2"},
    "world of nobody": {"MASTER_ADDR": "localhost", "WORLD_SIZE": "0", "RANK": "0"},
    "threads": {"OMP_NUM_THREADS": "-3", "MKL_NUM_THREADS": "many"},
    "width of the terminal": {"COLUMNS": "-5", "LINES": "x"},
}


@pytest.mark.parametrize("name", VARIABLES)
def test_variables_that_make_no_sense(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in VARIABLES[name].items():
        monkeypatch.setenv(variable, value)
    held(told("models", "list"), 0)
    held(told("segment", tmp_path / "none.nii", "-o", tmp_path / "out"), 1)


@linux
@pytest.mark.parametrize(
    "variables", [{"LC_ALL": "xx_XX.no"}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}, {"HOME": ""}]
)
def test_languages_that_are_not_there(variables: dict[str, str]) -> None:
    held(told_apart("models", "list", **variables), 0)
    held(told_apart("models", "show", "磁共振", **variables), 1)


@linux
@pytest.mark.parametrize("ending", [">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "| true", "</dev/zero"])
def test_streams_that_are_closed_or_full(ending: str, tmp_path: Path) -> None:
    words = f"{shlex.join(command_line('models', 'list'))} {ending}"
    done = subprocess.run(
        words, shell=True, env=environment(), capture_output=True, encoding="utf-8", check=False, timeout=60
    )
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert done.stderr.count("\n") <= 1
