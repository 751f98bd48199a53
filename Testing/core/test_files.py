"""Files are whole or not there, whenever a run is killed; tables hold nothing that a spreadsheet runs."""

from __future__ import annotations

import csv
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import (
    json_text,
    staged_folder,
    sweep,
    take_place,
    whole_file,
    write_csv,
    write_json,
    write_text,
)
from IterMask3DLib.core.locks import held
from Testing.launcher import environment

DAY = 24 * 3600


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.nii.gz"
    path.write_text("earlier")
    with whole_file(path) as staged:
        staged.write_text("half")
        assert path.read_text() == "earlier" and staged.parent == tmp_path and staged.name.endswith(".nii.gz")
    assert path.read_text() == "half" and names(tmp_path) == ["table.nii.gz"]


def test_a_file_that_cannot_be_filled_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("earlier")
    with pytest.raises(ZeroDivisionError), whole_file(path) as staged:
        staged.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "earlier" and names(tmp_path) == ["table.csv"]


def test_a_name_as_long_as_a_name_can_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 240}.json"
    write_json(path, [1])
    assert json.loads(path.read_text()) == [1]


def started(code: str, *arguments: Path) -> subprocess.Popen[str]:
    """A Python that runs `code` with the arguments, and says when it has come to the line before its sleep."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, encoding="utf-8")


FILLING = """
import sys, time
from pathlib import Path
from IterMask3DLib.core.files import staged_folder, take_place, whole_file
target = Path(sys.argv[1])
with {how}(target) as staged:
    ({where}).write_text("half")
    print("there", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs the signals of POSIX")
@pytest.mark.parametrize(("how", "where"), [("whole_file", "staged"), ("staged_folder", "staged / 'file'")])
def test_a_killed_run_leaves_what_was_there_and_its_rest_is_swept_but_never_that_of_one_at_work(
    how: str, where: str, tmp_path: Path
) -> None:
    target = tmp_path / "result"
    target.write_text("earlier") if how == "whole_file" else target.mkdir()
    process = started(FILLING.format(how=how, where=where), target)
    assert process.stdout is not None and process.stdout.readline() == "there\n"
    (left,) = (path for path in tmp_path.iterdir() if path != target)
    assert left.name.startswith(".")
    age(left, 99)
    sweep(tmp_path)
    assert left.exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert target.read_text() == "earlier" if how == "whole_file" else names(target) == []
    sweep(tmp_path)
    assert names(tmp_path) == ["result"]


def test_a_rest_that_is_not_held_yet_is_not_swept(tmp_path: Path) -> None:
    (tmp_path / ".itermask3d-part-new").mkdir()
    sweep(tmp_path)
    assert names(tmp_path) == [".itermask3d-part-new"]


def test_where_a_disk_has_no_locks_rests_are_swept_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("IterMask3DLib.core.locks.fcntl", None)
    left = tmp_path / ".itermask3d-part-old"
    left.mkdir()
    age(left, 0.9)
    sweep(tmp_path)
    assert left.exists()
    age(left, 1.1)
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_of_several_that_replace_a_folder_at_once_one_comes_after_the_other_and_nothing_is_lost(tmp_path: Path) -> None:
    target = tmp_path / "case"
    target.mkdir()
    (target / "mine").write_text("precious")
    start = threading.Barrier(4)

    def replacing(who: int) -> None:
        start.wait()
        for number in range(10):
            with staged_folder(target) as staged:
                (staged / "result").write_text(f"{who} {number}")
                take_place(staged, target, lambda: [target / "mine"])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(replacing, who) for who in range(4)]:
            done.result()
    assert names(target) == ["mine", "result"] and (target / "mine").read_text() == "precious"
    assert (target / "result").read_text().endswith(" 9") and names(tmp_path) == ["case"]


def test_who_comes_second_can_refuse_to_replace_what_came_first(tmp_path: Path) -> None:
    target = tmp_path / "case"

    def refuse() -> list[Path]:
        raise UserError("exists")

    with staged_folder(target) as first, staged_folder(target) as second:
        take_place(first, target, refuse)
        with pytest.raises(UserError, match="exists"):
            take_place(second, target, refuse)
    assert names(tmp_path) == ["case"]


@pytest.mark.skipif(os.name == "nt", reason="needs the permissions of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_files_and_folders_have_the_permissions_that_the_user_gives_new_ones(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "file", "text")
        with staged_folder(tmp_path / "folder") as staged:
            take_place(staged, tmp_path / "folder")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "folder")]
    assert modes == [0o666 & ~umask, 0o777 & ~umask]


def test_a_staged_folder_makes_the_way_to_its_target_and_is_gone_in_the_end(tmp_path: Path) -> None:
    with staged_folder(tmp_path / "a" / "b" / "target") as staged:
        (staged / "file").write_text("text")
    assert names(tmp_path / "a" / "b") == []


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="cannot be written"), staged_folder(tmp_path / "file" / "target"):
        pass
    with pytest.raises(UserError, match="No space left"), staged_folder(tmp_path / "target"):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == ["file"]


def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A target with two files, and a new folder that is to take its place."""
    target, staged = tmp_path / "target", tmp_path / "staged"
    for folder, texts in ((target, {"result": "old", "notes": "mine"}), (staged, {"result": "new"})):
        folder.mkdir()
        for name, text in texts.items():
            (folder / name).write_text(text)
    return target, staged


def test_a_folder_takes_the_place_of_another_and_keeps_what_is_to_be_kept(tmp_path: Path) -> None:
    target, staged = folders(tmp_path)
    take_place(staged, target, lambda: [target / "notes"])
    assert (target / "result").read_text() == "new" and (target / "notes").read_text() == "mine"
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), KeyboardInterrupt()])
def test_what_stood_there_comes_back_where_the_new_folder_cannot_take_its_place(
    failing: int, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, staged = folders(tmp_path)
    replace, calls = os.replace, []

    def refuse(source: Path, to: Path) -> None:
        calls.append(to)
        if len(calls) == failing:
            raise error
        replace(source, to)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(type(error)):
        take_place(staged, target, lambda: [target / "notes"])
    assert (target / "result").read_text() == "old" and (target / "notes").read_text() == "mine"


def test_a_folder_that_was_being_replaced_when_the_run_was_killed_comes_back(tmp_path: Path) -> None:
    with staged_folder(tmp_path / "case") as staged:
        hidden = staged.name[: staged.name.index("case")]
    earlier = tmp_path / f"{hidden}case.old.abc"
    (earlier / "folder").mkdir(parents=True)
    (earlier / "folder" / "result").write_text("old")
    age(earlier, 1.1)
    sweep(tmp_path)
    assert (tmp_path / "case" / "result").read_text() == "old" and names(tmp_path) == ["case"]


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_that_begins_a_formula_is_made_a_text(text: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["name", text], [[text, 1]])
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        harmless = f"'{text}".replace("\r", "\n")
        assert list(csv.reader(file)) == [["name", harmless], [harmless, "1"]]


def test_a_carriage_return_in_a_cell_begins_no_row(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["name", "value"], [["a\r=1+1,b", 1]])
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["name", "value"], ["a\n=1+1,b", "1"]]


@pytest.mark.parametrize("cell", [-1, -1.5, "-1.5", "+2e-3", "a=b", "", None, "-nan"])
def test_a_cell_that_begins_no_formula_stays(cell: Any, tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["value", "more"], [[cell, 0]])
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[1] == ["" if cell is None else str(cell), "0"]


def test_a_table_that_cannot_be_filled_leaves_the_earlier_one(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["a"], [[1]])

    def rows() -> Any:
        yield [2]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_csv(tmp_path / "t.csv", ["a"], rows())
    assert (tmp_path / "t.csv").read_text() == "a\n1\n" and names(tmp_path) == ["t.csv"]


def test_json_holds_only_what_json_has() -> None:
    value = {
        "nan": float("nan"),
        "infinite": np.float32("inf"),
        "array": np.array([[1.5, np.nan]]),
        "whole": np.int64(3),
        "truth": np.bool_(True),
        "path": Path("a") / "b",
        "pair": (1, "ä"),
        7: None,
    }
    assert json.loads(json_text(value)) == {
        "nan": None,
        "infinite": None,
        "array": [[1.5, None]],
        "whole": 3,
        "truth": True,
        "path": str(Path("a") / "b"),
        "pair": [1, "ä"],
        "7": None,
    }
    assert "ä" in json_text(value) and json_text(value).endswith("}\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_lock_ends_with_the_process_that_took_it_not_with_those_it_made_by_forking(tmp_path: Path) -> None:
    with held(tmp_path) as first:
        assert first
        ready, tell = os.pipe()
        child = os.fork()
        if not child:
            os.write(tell, b"1")
            time.sleep(60)
            os._exit(0)
        os.read(ready, 1)
        with held(tmp_path) as second:
            assert second is False
    try:
        with held(tmp_path) as again:
            assert again
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(tell)
