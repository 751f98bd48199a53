"""`itermask3d evaluate` from the data folder to the table: at once, killed in between, and in two processes."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from IterMask3DLib.evaluation.finders import Finding, IterMask3D

from IterMask3DLib.cli import main
from IterMask3DLib.evaluation import protocols
from Testing.brains import toy_model
from Testing.evaluation.cohorts import data_folder
from Testing.launcher import launch

FINDERS = ["itermask3d", "one_pass", "autoencoder", "z_score", "intensity_dark"]
TABLES = ("table.csv", "table.md", "cases.csv")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder, a model and an auto-encoder, all small."""
    folder = tmp_path_factory.mktemp("toy")
    data_folder(folder / "data")
    toy_model(folder / "model")
    assert (
        main(["evaluate", "autoencoder", str(folder / "data"), "-o", str(folder / "autoencoder"), "--steps", "2"]) == 0
    )
    return folder


@pytest.fixture(scope="module")
def whole(toy: Path) -> Path:
    """The output folder of an uninterrupted run of one process."""
    assert main(words(toy, "labelled", toy / "whole")) == 0
    return toy / "whole"


@pytest.fixture
def few_cases() -> Iterator[None]:
    """Two artefacts and two strokes in the one test brain, a stroke in the validation brain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocols, "BRAINS_PER_ARTEFACT", {"mild": 0, "medium": 1, "severe": 0})
        patch.setattr(protocols, "KINDS", ("middle_chunk", "zipper"))
        patch.setattr(protocols, "STROKES_PER_BRAIN", 2)
        patch.setattr(protocols, "CALIBRATION_PER_BRAIN", 1)
        yield


def words(toy: Path, protocol: str, out: Path) -> list[str]:
    """The command line of a protocol, with the baselines."""
    where = (
        [str(toy / "data" / "open_ms"), "--data", str(toy / "data")] if protocol == "labelled" else [str(toy / "data")]
    )
    return [
        "evaluate",
        protocol,
        *where,
        "-o",
        str(out),
        "--model",
        str(toy / "model"),
        "--autoencoder",
        str(toy / "autoencoder"),
    ]


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_command_writes_the_whole_table(
    toy: Path, tmp_path: Path, few_cases: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(toy, "all", tmp_path)) == 0
    assert "IterMask3D" in capsys.readouterr().out
    rows, cases = lines(tmp_path / "table.csv"), lines(tmp_path / "cases.csv")
    assert list(dict.fromkeys(row["finder"] for row in rows)) == FINDERS
    assert {row["section"] for row in rows} == {"strokes", "healthy", "artefacts", "labelled"}
    # A healthy brain, two strokes, two artefacts and three labelled volumes, each once for every finder.
    assert len(cases) == len({(case["section"], case["case"], case["finder"]) for case in cases}) == 8 * len(FINDERS)
    assert not [case for case in cases if case["section"] == "calibration"]
    made = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert made["provenance"]["cases"] == {"healthy": 1, "strokes": 2, "artefacts": 2, "labelled": 3} and len(
        made["rows"]
    ) == len(rows)
    assert all("threshold" in made["provenance"]["finders"][name] for name in FINDERS[1:])
    page = (tmp_path / "table.html").read_text(encoding="utf-8")
    examples = page.count("<figure>")
    assert 3 + 2 + 1 < examples == page.count("data:image/png") and "http" not in page
    assert (tmp_path / "table.md").read_text(encoding="utf-8").count("\n") == 2 + len(FINDERS)


def test_a_killed_run_goes_on_to_the_same_table(
    toy: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, seen = IterMask3D.find, []

    def killed_at_the_second(self: IterMask3D, volume: object, brain: object) -> Finding:
        seen.append(volume)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return find(self, volume, brain)

    monkeypatch.setattr(IterMask3D, "find", killed_at_the_second)
    assert main(words(toy, "labelled", tmp_path)) == 1
    assert not (tmp_path / "table.csv").exists()
    assert main(words(toy, "labelled", tmp_path)) == 0
    # The first case was kept; the second, which was killed, came again.
    assert len(seen) == 4
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_two_processes_write_the_table_of_one(toy: Path, whole: Path, tmp_path: Path) -> None:
    done = launch(*words(toy, "labelled", tmp_path), processes=2)
    assert done.returncode == 0, done.stderr
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    assert done.stdout.count("table.html") == 1


def test_a_missing_auto_encoder_is_trained_in_the_output_folder(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(volumes: object, out: Path, *others: object, **more: object) -> Path:
        return Path(shutil.copytree(toy / "autoencoder", out))

    monkeypatch.setattr("IterMask3DLib.methods.autoencoder.network.train", copied)
    monkeypatch.setattr("IterMask3DLib.evaluation.command.calibrated", lambda scorers, *others: [])
    assert main(words(toy, "labelled", tmp_path / "out")[:-2]) == 0
    assert (tmp_path / "out" / "autoencoder" / "autoencoder.safetensors").exists()


def test_without_a_data_folder_a_labelled_set_is_measured_alone(toy: Path, tmp_path: Path) -> None:
    folder = str(toy / "data" / "open_ms")
    assert (
        main(["evaluate", "labelled", folder, "-o", str(tmp_path), "--model", str(toy / "model"), "--modality", "T2"])
        == 0
    )
    assert {case["finder"] for case in lines(tmp_path / "cases.csv")} == {"itermask3d"}
    assert lines(tmp_path / "cases.csv")[0]["case"] == "patient0_T2"


def test_what_is_not_there_is_told_in_a_line(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["evaluate", "all", str(tmp_path / "nowhere"), "-o", str(tmp_path / "out"), "--model", str(toy / "model")]
    assert main(asked) == 1
    assert capsys.readouterr().err.startswith("error: ")
