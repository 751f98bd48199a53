"""Every control of the panel does what it says: saving, and many volumes at once."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")


from Testing.brains import phantom
from Testing.ui.story import SAMPLE
from Testing.ui.user import User

# Save and batch


SAVES = {
    "saveSegmentationCheckBox": "seg.nrrd",
    "saveNiftiCheckBox": "anomaly.nii.gz",
    "saveHeatmapCheckBox": "heatmap.nii.gz",
    "saveLesionsCheckBox": "lesions.csv",
    "saveReportCheckBox": "report.html",
    "saveIterationsCheckBox": "iterations.csv",
    "saveSceneCheckBox": ".mrb",
}


@pytest.mark.parametrize("wanted", SAVES)
def test_only_what_is_ticked_is_saved(done: User, tmp_path: Path, wanted: str) -> None:
    for name in SAVES:
        if getattr(done.ui, name).checked != (name == wanted):
            done.click(name)
    done.ui.saveDirectoryButton.directory = str(tmp_path)
    done.click("saveButton")
    done.wait()
    names = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert any(name.endswith(SAVES[wanted]) for name in names), (names, done.log)
    for other in set(SAVES) - {wanted}:
        assert not any(name.endswith(SAVES[other]) for name in names), names


def test_saving_nothing_is_told(done: User, tmp_path: Path) -> None:
    for name in SAVES:
        if getattr(done.ui, name).checked:
            done.click(name)
    done.ui.saveDirectoryButton.directory = str(tmp_path)
    done.click("saveButton")
    done.wait()
    assert "Problem" in done.status and not any(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told(done: User, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("no folder")
    done.ui.saveDirectoryButton.directory = str(place)
    done.click("saveButton")
    done.wait()
    assert "Problem" in done.status


def test_a_batch_goes_through_a_folder_and_leaves_out_what_is_done(user: User, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "first.nii.gz").write_bytes(SAMPLE.read_bytes())
    (source / "second.nii.gz").write_bytes(b"no volume")
    user.ui.batchInputButton.directory, user.ui.batchOutputButton.directory = str(source), str(target)
    user.click("batchButton")
    assert user.ui.batchButton.text == "Stop"
    user.wait()
    assert statuses(user) == {"first": "done", "second": "failed"}
    assert "1 done, 1 failed" in user.status and any(target.rglob("first*"))
    user.click("batchButton")
    user.wait()
    assert statuses(user)["first"] == "skipped"
    user.click("skipExistingCheckBox")
    user.click("batchButton")
    user.wait()
    assert statuses(user)["first"] == "done"


def test_of_several_dicom_series_in_a_folder_the_user_chooses_one(user: User, tmp_path: Path) -> None:
    from Testing.results.test_dicom_seg import write_series

    array, affine = phantom(shape=(20, 24, 20), spacing=8.0)
    for name, scan in (("first", array), ("second", array[:, :, 4:])):
        write_series(tmp_path / name, scan, affine)
    (tmp_path / "in" / "patient").mkdir(parents=True)
    for name in ("first", "second"):
        for file in (tmp_path / name).iterdir():
            file.rename(tmp_path / "in" / "patient" / f"{name}{file.stem}")
    user.ui.batchInputButton.directory = str(tmp_path / "in")
    user.ui.batchOutputButton.directory = str(tmp_path / "out")
    user.click("batchButton")
    user.wait()
    assert statuses(user) == {"patient": "choose"} and "press Run batch again" in user.status
    box = user.ui.batchTable.cellWidget(0, 2)
    assert [box.itemText(n) for n in range(box.count)] == ["series (20 files)", "series (16 files)"]
    box.currentIndex = 1
    user.click("batchButton")
    user.wait()
    assert statuses(user) == {"patient": "done"}
    assert nib.load(tmp_path / "out" / "patient" / "patient_anomaly.nii.gz").shape[2] == 16


def test_a_batch_can_be_stopped(user: User, tmp_path: Path) -> None:
    user.choose("sweep_passes", 200)
    for name in ("first", "second"):
        (tmp_path / f"{name}.nii.gz").write_bytes(SAMPLE.read_bytes())
    user.ui.batchInputButton.directory = str(tmp_path)
    user.ui.batchOutputButton.directory = str(tmp_path / "out")
    user.click("batchButton")
    user.until(lambda: user.ui.progressBar.value > 0, "some progress")
    user.click("batchButton")
    user.wait()
    assert "stopped" in statuses(user).values() and user.ui.batchButton.text == "Run batch"


def test_a_batch_of_a_folder_without_volumes_is_refused_in_words(user: User, tmp_path: Path) -> None:
    user.ui.batchInputButton.directory = str(tmp_path)
    user.ui.batchOutputButton.directory = str(tmp_path / "out")
    user.click("batchButton")
    user.wait()
    assert "Problem" in user.status and user.ui.batchButton.text == "Run batch" and user.can("batchButton")


def statuses(user: User) -> dict[str, str]:
    table = user.ui.batchTable
    return {table.item(row, 0).text(): table.item(row, 1).text() for row in range(table.rowCount)}
