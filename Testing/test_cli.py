"""The command line: what it writes, what it says, and that bad input costs nothing."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from IterMask3DLib import cli
from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.result import Step
from IterMask3DLib.core.settings import about
from IterMask3DLib.methods.registry import method_specs
from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.run import run_case
from Testing.brains import phantom, toy_model
from Testing.launcher import command_line, environment, launch

FILES = (
    "anomaly.nii.gz",
    "heatmap.nii.gz",
    "reconstruction.nii.gz",
    "brain.nii.gz",
    "lesions.csv",
    "curve.csv",
    "report.html",
    "run.json",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_model(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.nii.gz"
    write_nifti(*phantom(), path)
    return path


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_a_case_gets_every_file_of_the_contract_on_the_grid_of_the_input(
    scan: Path, model: Path, tmp_path: Path
) -> None:
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model) == 0
    folder = tmp_path / "out" / "scan"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"scan_{name}" for name in FILES)
    for name in FILES[:4]:
        image = nibabel.load(folder / f"scan_{name}")
        assert image.shape == (40, 48, 40)
        np.testing.assert_allclose(image.affine, phantom()[1], atol=1e-5)
    assert set(np.unique(nibabel.load(folder / "scan_anomaly.nii.gz").dataobj)) <= {0, 1}
    record = json.loads((folder / "scan_run.json").read_text(encoding="utf-8"))
    assert record["model_sha256"] == json.loads((model / "card.json").read_text(encoding="utf-8"))["files"]
    assert sorted(record["files"]) == sorted(f"scan_{name}" for name in FILES)
    with (folder / "scan_curve.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 12


def test_a_nrrd_copy_gives_the_same_anomaly(scan: Path, model: Path, tmp_path: Path) -> None:
    sitk.WriteImage(sitk.ReadImage(str(scan)), str(tmp_path / "copy.nrrd"))
    assert run("segment", scan, tmp_path / "copy.nrrd", "-o", tmp_path / "out", "--model", model) == 0
    first, second = (
        np.asarray(nibabel.load(tmp_path / "out" / n / f"{n}_anomaly.nii.gz").dataobj) for n in ("scan", "copy")
    )
    np.testing.assert_array_equal(first, second)


def test_the_shrink_phase_can_start_from_the_best_mask_and_with_another_gamma(
    scan: Path, model: Path, tmp_path: Path
) -> None:
    records = []
    for number, more in enumerate((("--start", "brain"), ("--start", "best"), ("--gamma", "0.4"))):
        assert run("segment", scan, "-o", tmp_path / str(number), "--model", model, *more) == 0
        records.append(json.loads((tmp_path / str(number) / "scan" / "scan_run.json").read_text(encoding="utf-8")))
    whole, best, steep = records
    assert [r["settings"]["start"] for r in records] == ["brain", "best", "brain"]
    assert best["results"]["threshold"] == whole["results"]["threshold"]
    assert best["results"]["shrink"][0]["masked_voxels"] != whole["results"]["shrink"][0]["masked_voxels"]
    assert steep["settings"]["gamma"] == 0.4 and steep["results"]["chosen_pass"] > whole["results"]["chosen_pass"]


def test_the_same_seed_gives_the_same_files_and_another_seed_another_heatmap(
    scan: Path, model: Path, tmp_path: Path
) -> None:
    heatmaps = []
    for number, seed in enumerate((3, 3, 4)):
        assert run("segment", scan, "-o", tmp_path / str(number), "--model", model, "--seed", seed) == 0
        heatmaps.append(np.asarray(nibabel.load(tmp_path / str(number) / "scan" / "scan_heatmap.nii.gz").dataobj))
    np.testing.assert_array_equal(heatmaps[0], heatmaps[1])
    assert np.abs(heatmaps[0] - heatmaps[2]).max() > 1e-4


def test_iterations_are_saved_when_asked_for(scan: Path, model: Path, tmp_path: Path) -> None:
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model, "--save-iterations") == 0
    masks = np.asarray(nibabel.load(tmp_path / "out" / "scan" / "scan_iterations.nii.gz").dataobj)
    anomaly = np.asarray(nibabel.load(tmp_path / "out" / "scan" / "scan_anomaly.nii.gz").dataobj)
    assert masks.shape[:3] == anomaly.shape and masks.shape[3] > 12
    np.testing.assert_array_equal(masks[..., -1], anomaly)


def test_results_that_are_there_stay_unless_overwrite_is_given(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("segment", scan, "-o", out, "--model", model, "--save-iterations") == 0
    report = (out / "scan" / "scan_report.html").read_bytes()
    (out / "scan" / "mine.txt").write_text("kept")
    capsys.readouterr()
    assert run("segment", scan, "-o", out, "--model", model) == 1
    assert "--overwrite" in one_error(capsys)
    assert (out / "scan" / "scan_report.html").read_bytes() == report
    assert run("segment", scan, "-o", out, "--model", model, "--overwrite", "--seed", "1") == 0
    assert (out / "scan" / "mine.txt").read_text(encoding="utf-8") == "kept"
    assert (out / "scan" / "scan_report.html").read_bytes() != report
    assert not (out / "scan" / "scan_iterations.nii.gz").exists()


def test_a_folder_without_results_stays_even_with_overwrite(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / "scan").mkdir(parents=True)
    (tmp_path / "out" / "scan" / "mine.txt").write_text("kept")
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model, "--overwrite") == 1
    assert "holds no results of this program" in one_error(capsys)
    assert [path.name for path in (tmp_path / "out" / "scan").iterdir()] == ["mine.txt"]


def test_an_input_where_the_results_would_go_stays(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = tmp_path / "out" / "scan" / "scan.nii.gz"
    inside.parent.mkdir(parents=True)
    shutil.copy(scan, inside)
    (inside.parent / "scan_run.json").write_text('{"case": "scan", "files": ["scan_run.json", "scan.nii.gz"]}')
    assert run("segment", inside, "-o", tmp_path / "out", "--model", model, "--overwrite") == 1
    assert "over the input" in one_error(capsys)
    assert inside.read_bytes() == scan.read_bytes()


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The only error line on stderr; fails on a traceback."""
    printed = capsys.readouterr().err
    lines = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, printed
    assert "Traceback" not in printed
    return lines[0]


def _write(array: np.ndarray, affine: np.ndarray | None = None) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)

    return make


def _truncated(path: Path) -> None:
    write_nifti(*phantom(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _with(value: float) -> np.ndarray:
    array = phantom()[0].astype(np.float32)
    array[20, 20, 20] = value
    return array


def _singular(path: Path) -> None:
    image = nibabel.Nifti1Image(phantom()[0], None)
    image.header.set_sform(np.diag([4.0, 4.0, 0.0, 1.0]), code=1)
    path.write_bytes(image.to_bytes())


BAD = {
    "missing": (lambda path: None, "does not exist"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "truncated": (_truncated, "truncated"),
    "text": (lambda path: path.write_text("not an image" * 99), "cannot be read"),
    "two-dimensional": (_write(np.arange(64, dtype=np.int16).reshape(8, 8)), "2D"),
    "four-dimensional": (_write(np.arange(512, dtype=np.int16).reshape(8, 8, 4, 2)), "4D"),
    "not a number": (_write(_with(np.nan)), "NaN or infinite"),
    "infinite": (_write(_with(np.inf)), "NaN or infinite"),
    "constant": (_write(np.full((20, 20, 20), 7, np.int16)), "constant"),
    "singular": (_singular, "singular"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_volume_is_told_in_one_sentence_and_nothing_is_written(
    kind: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = BAD[kind]
    path = tmp_path / ("bad.nii" if kind == "singular" else "bad.nii.gz")
    make(path)
    assert run("segment", path, "-o", tmp_path / "out", "--model", model) == 1
    error = one_error(capsys)
    assert str(path) in error and words in error
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_volume_of_another_kind_is_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(b"\x89PNG")
    assert run("segment", path, "-o", tmp_path / "out", "--model", model) == 1
    assert "is not a NIfTI" in one_error(capsys)


def test_a_brain_mask_elsewhere_in_space_is_refused(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array, affine = phantom()
    moved = affine.copy()
    moved[0, 3] += 5
    write_nifti(array > 0, moved, tmp_path / "moved.nii.gz")
    write_nifti((array > 0)[:-2], affine, tmp_path / "smaller.nii.gz")
    for name, words in (("moved", "elsewhere in space"), ("smaller", "voxels")):
        assert (
            run("segment", scan, "-o", tmp_path / "out", "--model", model, "--brain-mask", tmp_path / f"{name}.nii.gz")
            == 1
        )
        assert words in one_error(capsys)


def test_a_brain_mask_without_a_brain_is_refused(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array, affine = phantom()
    write_nifti(-(array > 0).astype(np.int16), affine, tmp_path / "none.nii.gz")
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model, "--brain-mask", tmp_path / "none.nii.gz") == 1
    assert "no brain" in one_error(capsys)


def test_a_given_brain_mask_is_used(scan: Path, model: Path, tmp_path: Path) -> None:
    array, affine = phantom()
    half = array > 0
    half[:20] = False
    write_nifti(half, affine, tmp_path / "half.nii.gz")
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model, "--brain-mask", tmp_path / "half.nii.gz") == 0
    folder = tmp_path / "out" / "scan"
    np.testing.assert_array_equal(np.asarray(nibabel.load(folder / "scan_brain.nii.gz").dataobj) > 0, half)
    assert not np.asarray(nibabel.load(folder / "scan_anomaly.nii.gz").dataobj)[:20].any()
    assert "given" in (folder / "scan_report.html").read_text(encoding="utf-8")


def test_an_output_folder_that_cannot_be_written_is_told_before_the_run(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("IterMask3DLib.batch.run_case", lambda *a: pytest.fail("the run began"))
    (tmp_path / "file").write_text("a file, not a folder")
    assert run("segment", scan, "-o", tmp_path / "file" / "out", "--model", model) == 1
    assert str(tmp_path / "file") in one_error(capsys)


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


def test_a_summary_of_somebody_else_stays(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(scan, tmp_path / "other.nii.gz")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.csv").write_text("mine")
    assert run("segment", scan, tmp_path / "other.nii.gz", "-o", tmp_path / "out", "--model", model, "--overwrite") == 1
    assert "summary.csv is no summary of this program" in one_error(capsys)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["summary.csv"]


def test_a_changed_model_is_refused(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(model, changed)
    data = bytearray((changed / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (changed / "model.safetensors").write_bytes(data)
    assert run("segment", scan, "-o", tmp_path / "out", "--model", changed) == 1
    assert "checksum" in one_error(capsys)


def test_in_a_batch_a_failing_case_does_not_stop_the_others(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("segment", tmp_path / "none.nii.gz", scan, "-o", tmp_path / "out", "--model", model) == 1
    assert "does not exist" in one_error(capsys)
    assert (tmp_path / "out" / "scan" / "scan_report.html").exists()


def test_two_inputs_of_one_name_are_refused(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    shutil.copy(scan, tmp_path / "other" / "scan.nii.gz")
    assert run("segment", scan, tmp_path / "other" / "scan.nii.gz", "-o", tmp_path / "out", "--model", model) == 1
    assert "different file names" in one_error(capsys)


USAGE = [
    (),
    ("segment",),
    ("segment", "-o", "out"),
    ("segment", "a.nii", "-o", "out", "--gamma", "-1"),
    ("segment", "a.nii", "-o", "out", "--gamma", "nan"),
    ("segment", "a.nii", "-o", "out", "--start", "middle"),
    ("segment", "a.nii", "-o", "out", "--precision", "double"),
    ("segment", "a", "-o", "b", "--seed", "x"),
    ("segment", "a", "-o", "b", "--seed", "-1"),
    ("segment", "a", "b", "-o", "c", "--input", "T2w=d"),
    ("segment", "-o", "c", "--input", "T2w"),
    ("segment", "-o", "c", "--input", "T2w=d", "--input", "T2w=e"),
    ("segment", "a", "b", "-o", "c", "--brain-mask", "d"),
    ("evaluate",),
    ("models",),
    ("serve", "me"),
    ("nonsense",),
]


@pytest.mark.parametrize("arguments", USAGE)
def test_wrong_usage_leaves_with_2(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2


def test_every_setting_of_every_method_is_an_option(toy_methods: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("segment", "--help")
    told = capsys.readouterr().out
    assert len(method_specs()) > 3
    for spec in method_specs().values():
        assert f"settings of {spec.title}" in told
        assert all(f"--{name.replace('_', '-')} " in told for name in about(spec.Settings))


def test_the_settings_of_a_run_are_those_that_were_given(scan: Path, model: Path, tmp_path: Path) -> None:
    words = ("--sweep-passes", "6", "--stop-ratio", "0.5", "--median-multiple", "3", "--precision", "single")
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model, *words) == 0
    record = json.loads((tmp_path / "out" / "scan" / "scan_run.json").read_text(encoding="utf-8"))
    chosen = {"sweep_passes": 6, "stop_ratio": 0.5, "median_multiple": 3.0}
    assert record["request"]["settings"] == chosen and record["request"]["precision"] == "single"
    assert chosen.items() <= record["settings"].items()


def test_a_setting_of_another_method_is_refused(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model, "--threshold", "1") == 1
    assert "--threshold cannot be set for model toy: its method, IterMask3D, has no such setting" in one_error(capsys)
    assert not (tmp_path / "out").exists()


def test_a_model_with_two_channels_takes_one_image_for_each(
    scan: Path, toy_methods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from Testing.toy_methods.models import toy_method_model

    model = toy_method_model(tmp_path / "two", "toy_case_score")
    shutil.copy(scan, tmp_path / "second.nii.gz")
    second = f"T2w={tmp_path / 'second.nii.gz'}"
    scores = []
    for number, images in enumerate(((scan, "--input", second), ("--input", f"T1w={scan}", "--input", second))):
        assert run("segment", *images, "-o", tmp_path / str(number), "--model", model) == 0
        folder = tmp_path / str(number) / "scan"
        assert not (folder / "scan_anomaly.nii.gz").exists() and not (folder / "scan_lesions.csv").exists()
        record = json.loads((folder / "scan_run.json").read_text(encoding="utf-8"))
        assert [Path(path).name for path in record["inputs"].values()] == ["scan.nii.gz", "second.nii.gz"]
        scores.append(record["results"]["case_score"])
        assert f"scan: score {scores[-1]:.4g}; brain " in capsys.readouterr().out
    assert scores[0] == scores[1]
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model) == 1
    assert "--input T2w=FILE" in one_error(capsys)
    assert (
        run("segment", scan, "--input", f"T1w={scan}", "--input", second, "-o", tmp_path / "out", "--model", model) == 1
    )
    assert "one image too many" in one_error(capsys)


def test_models_are_listed_shown_and_verified(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "list", model) == 0
    assert {"t1w", "t1w-2mm", "t2w", "flair"} <= set(capsys.readouterr().out.split())
    assert run("models", "verify", model) == 0
    assert run("models", "show", model) == 0
    assert ModelCard.from_json(capsys.readouterr().out.split("right.\n")[1], "printed").name == "toy"


@pytest.mark.parametrize("words", ["--help", "segment --help", "models list", "models show"])
def test_what_prints_a_few_lines_imports_nothing_heavy(words: str) -> None:
    code = (
        "import sys\nfrom IterMask3DLib.cli import main\n"
        f"try: code = main({words.split()!r})\nexcept SystemExit as left: code = left.code\n"
        "heavy = {'torch', 'openvino', 'matplotlib', 'scipy', 'SimpleITK', 'nibabel', 'pandas'}\n"
        # The settings of a run know volumes; what lists models, or commands, does not.
        f"heavy = (heavy | {set() if 'segment' in words else {'numpy'}!r}) & set(sys.modules)\n"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("broken", ["training.cli", "training.calibrate_cli", "evaluation.cli"])
def test_a_broken_package_breaks_its_own_command_alone(broken: str) -> None:
    command = {"training.cli": "train", "training.calibrate_cli": "calibrate", "evaluation.cli": "evaluate"}[broken]
    begin = f"import sys\nsys.modules['IterMask3DLib.{broken}'] = None\nfrom IterMask3DLib.cli import main\n"
    for words, code in ((["models", "list"], 0), ([command, "x"], 1)):
        done = subprocess.run(
            [sys.executable, "-c", f"{begin}sys.exit(main({words!r}))"],
            env=environment(),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert done.stderr.count("\n") == code and "Traceback" not in done.stderr


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
real(signal.SIGHUP, signal.SIG_DFL)  # which nohup has ignored
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


def test_several_processes_share_the_cases(scan: Path, model: Path, tmp_path: Path) -> None:
    for name in ("b", "c"):
        shutil.copy(scan, tmp_path / f"{name}.nii.gz")
    inputs = [scan, tmp_path / "b.nii.gz", tmp_path / "none.nii.gz", tmp_path / "c.nii.gz"]
    done = launch("segment", *inputs, "-o", tmp_path / "out", "--model", model, processes=2)
    assert done.returncode != 0 and "3 of 4 cases done." in done.stdout
    assert done.stderr.count("none.nii.gz does not exist") == 1
    with (tmp_path / "out" / "summary.csv").open(encoding="utf-8") as file:
        found = [(row["case"], row["status"]) for row in csv.DictReader(file)]
    assert found == [("scan", "done"), ("b", "done"), ("none", "failed"), ("c", "done")]
    assert all((tmp_path / "out" / name / f"{name}_report.html").exists() for name in ("scan", "b", "c"))
