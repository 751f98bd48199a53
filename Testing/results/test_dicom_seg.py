"""The DICOM segmentation, read back by pydicom alone and compared with the anomaly voxel for voxel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from IterMask3DLib import __version__
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import Affine
from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import ANOMALY, Layer
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.results.dicom_seg import write_dicom_seg
from Testing.results.case_results import a_result, an_anomaly, oblique_affine

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom", reason="needs highdicom (pip install 'itermask3d[dicom]')")


def write_series(folder: Path, array: Any, affine: Affine) -> None:
    """A series of MR slices, one file each, whose names and numbers do not follow their places."""
    folder.mkdir()
    study, series, frame = (pydicom.uid.generate_uid() for _ in range(3))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    row, column, step = (lps[:3, n] / np.linalg.norm(lps[:3, n]) for n in range(3))
    order = np.random.default_rng(0).permutation(array.shape[2])
    for k in range(array.shape[2]):
        data = pydicom.Dataset()
        data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", pydicom.uid.generate_uid()
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.Modality, data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = (
            "MR",
            "A^B",
            "7",
            "",
            "O",
        )
        data.StudyDate, data.StudyTime, data.StudyID, data.AccessionNumber = "20260101", "120000", "1", ""
        data.ReferringPhysicianName, data.SeriesNumber, data.InstanceNumber = "", 4, int(order[k]) + 1
        data.Rows, data.Columns = array.shape[1], array.shape[0]
        data.PixelSpacing = [float(np.linalg.norm(lps[:3, n])) for n in (1, 0)]
        data.SliceThickness = float(np.linalg.norm(lps[:3, 2]))
        data.ImageOrientationPatient = [round(float(x), 8) for x in (*row, *column)]
        data.ImagePositionPatient = [round(float(x), 6) for x in (lps @ [0, 0, k, 1])[:3]]
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 1
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit = 15
        data.PixelData = np.ascontiguousarray(array[:, :, k].T.astype(np.int16)).tobytes()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.save_as(folder / f"IM{order[k]:04d}.dcm", enforce_file_format=True)
    assert np.dot(np.cross(row, column), step) != 0


def read_back(path: Path, scan: Path) -> Any:
    """The mask [i, j, k] that a segmentation puts on the slices of a scan, found by where each frame says it lies."""
    sources = [pydicom.dcmread(file) for file in scan.iterdir()]
    normal = np.cross(*np.reshape(sources[0].ImageOrientationPatient, (2, 3)).astype(float))
    sources.sort(key=lambda one: float(normal @ np.array(one.ImagePositionPatient, float)))
    found = pydicom.dcmread(path)
    frames = np.atleast_3d(found.pixel_array).reshape(-1, found.Rows, found.Columns)
    mask = np.zeros((found.Columns, found.Rows, len(sources)), dtype=bool)
    for frame, told in zip(frames, found.PerFrameFunctionalGroupsSequence, strict=True):
        place = told.PlanePositionSequence[0].ImagePositionPatient
        (k,) = (k for k, one in enumerate(sources) if np.allclose(place, one.ImagePositionPatient, atol=1e-3))
        derived = told.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert derived == sources[k].SOPInstanceUID
        mask[:, :, k] |= frame.T > 0
    return mask


def a_result_on(scan: Path, anomaly: Any) -> Any:
    image = read_image(scan)
    result = a_result(anomaly)
    return replace(result, case=Case("anna", {"": image}), layers={**result.layers, ANOMALY: Layer.mask(anomaly)})


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_segment_lies_where_the_anomaly_does(tmp_path: Path, mirrored: bool) -> None:
    scan, affine = tmp_path / "scan", oblique_affine() @ np.diag([1.0, 1.0, -1.0 if mirrored else 1.0, 1.0])
    array = np.random.default_rng(1).integers(0, 900, an_anomaly().shape)
    write_series(scan, array, affine)
    image: Image = read_image(scan)
    # Where a value is in space tells which way round the slices were read.
    corner = tuple(np.argwhere(image.array == array[0, 0, 0])[0]) if (array == array[0, 0, 0]).sum() == 1 else None
    assert corner is None or np.allclose(image.affine @ [*corner, 1], affine @ [0, 0, 0, 1], atol=1e-3)
    anomaly = np.random.default_rng(2).random(an_anomaly().shape) > 0.9
    anomaly[:, :, 3] = False
    write_dicom_seg(a_result_on(scan, anomaly), tmp_path / "seg.dcm")
    np.testing.assert_array_equal(read_back(tmp_path / "seg.dcm", scan), anomaly)


def test_it_says_what_the_segment_is_and_what_made_it(tmp_path: Path) -> None:
    write_series(tmp_path / "scan", np.ones(an_anomaly().shape) * np.arange(20), oblique_affine())
    write_dicom_seg(a_result_on(tmp_path / "scan", an_anomaly()), tmp_path / "seg.dcm")
    found = pydicom.dcmread(tmp_path / "seg.dcm")
    (segment,) = found.SegmentSequence
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert (found.Modality, found.PatientID, found.SegmentationType, found.SeriesNumber) == ("SEG", "7", "BINARY", 104)
    assert (segment.SegmentLabel, segment.SegmentAlgorithmType) == ("Anomaly", "AUTOMATIC")
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("IterMask3D", __version__)
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "4147007"
    assert segment.AnatomicRegionSequence[0].CodeValue == "12738006"


def test_nothing_found_is_a_segment_with_nothing_in_it(tmp_path: Path) -> None:
    nothing = np.zeros_like(an_anomaly())
    write_series(tmp_path / "scan", np.ones(nothing.shape) * np.arange(20), oblique_affine())
    write_dicom_seg(a_result_on(tmp_path / "scan", nothing), tmp_path / "seg.dcm")
    assert not read_back(tmp_path / "seg.dcm", tmp_path / "scan").any()


def test_an_input_that_is_no_series_is_refused_before_the_run(tmp_path: Path) -> None:
    from IterMask3DLib.batch import cases_of, segment_cases

    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "scan.nii.gz").write_bytes(b"")
    model: Any = None
    (*_, ended) = segment_cases(cases_of([tmp_path / "scan"]), model, Request(dicom_seg=True), tmp_path / "out")
    assert ended.status == "failed" and "holds no DICOM series" in ended.message


def test_headers_that_lack_the_study_are_told(tmp_path: Path) -> None:
    write_series(tmp_path / "scan", np.ones(an_anomaly().shape) * np.arange(20), oblique_affine())
    for file in (tmp_path / "scan").iterdir():
        data = pydicom.dcmread(file)
        del data.FrameOfReferenceUID
        data.save_as(file)
    with pytest.raises(UserError, match="lack what a DICOM segmentation needs"):
        write_dicom_seg(a_result_on(tmp_path / "scan", an_anomaly()), tmp_path / "seg.dcm")
