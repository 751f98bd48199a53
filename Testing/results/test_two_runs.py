"""Two runs that write the same case at the same moment: one of them, or one after the other, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.results import case_writer
from IterMask3DLib.results.case_lesions import CaseLesions
from IterMask3DLib.results.overwriting import is_case
from Testing.results.case_results import a_result


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have computed and written their files beside the case before either puts them in its place."""
    both = threading.Barrier(2, timeout=60)
    place = case_writer.take_place

    def waiting(*given: Any) -> None:
        both.wait()
        place(*given)

    monkeypatch.setattr(case_writer, "write_report", lambda path, *more: path.write_text("report"))
    monkeypatch.setattr(case_writer, "take_place", waiting)


def written_twice(out: Path, **more: Any) -> list[str]:
    """What two runs say: "" where the case was written, or why it was not."""

    def write() -> str:
        result = a_result()
        try:
            case_writer.write_case(out, result, CaseLesions.of(result), **more)
            return ""
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        return sorted(each.result() for each in [pool.submit(write) for _ in range(2)])


def test_without_overwriting_one_of_them_is_refused(together: None, tmp_path: Path) -> None:
    first, second = written_twice(tmp_path)
    assert first == "" and "exists already" in second
    assert is_case(tmp_path / "anna", "anna") and [path.name for path in tmp_path.iterdir()] == ["anna"]


def test_with_overwriting_one_comes_after_the_other_and_what_is_mine_stays(together: None, tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "anna_run.json").write_text('{"case": "anna", "files": ["anna_run.json"]}')
    (tmp_path / "anna" / "mine.txt").write_text("precious")
    assert written_twice(tmp_path, overwrite=True) == ["", ""]
    assert (tmp_path / "anna" / "mine.txt").read_text() == "precious"
    assert is_case(tmp_path / "anna", "anna") and [path.name for path in tmp_path.iterdir()] == ["anna"]


@pytest.mark.parametrize("vanish", [lambda out: None, lambda out: out.rename(out.with_name("moved"))])
def test_an_output_folder_that_vanishes_meanwhile_is_made_again_or_told(
    vanish: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, result = tmp_path / "out", a_result()
    place = case_writer.take_place

    def late(*given: Any) -> None:
        vanish(out)
        place(*given)

    monkeypatch.setattr(case_writer, "write_report", lambda path, *more: path.write_text("report"))
    monkeypatch.setattr(case_writer, "take_place", late)
    try:
        case_writer.write_case(out, result, CaseLesions.of(result))
        assert is_case(out / "anna", "anna")
    except UserError as error:
        assert "cannot be written" in str(error)
        assert not (out / "anna").exists()
