"""What the name or the header of a volume says of its contrast."""

from __future__ import annotations

import pytest

from IterMask3DLib.core.contrast import contrast_in, contrast_of_times


@pytest.mark.parametrize(
    ("words", "contrast"),
    [
        ("sub-01_T1w", "T1w"),
        ("sub-01_ses-2_acq-highres_T2w", "T2w"),
        ("sub-01_FLAIR", "FLAIR"),
        ("tumour01_T1", "T1w"),
        ("patient19_T2.nii", "T2w"),
        ("t1_mprage_sag_p2_iso", "T1w"),
        ("Sag T2 FLAIR CUBE", "FLAIR"),
        ("t2_space_dark-fluid_sag", "FLAIR"),
        ("3D T1 FLAIR", "T1w"),
        ("AX FSPGR 3D", "T1w"),
        ("T1 MPRAGE post gad", "T1w"),
        ("ep2d_diff_T2*", ""),
        ("t2star_2d", ""),
        ("T1_and_T2", ""),
        ("DWI b1000", ""),
        ("brain_t10_copy", ""),
        ("scan", ""),
    ],
)
def test_a_name_says_its_contrast(words: str, contrast: str) -> None:
    assert contrast_in(words) == contrast


@pytest.mark.parametrize(
    ("times", "contrast"),
    [
        ((2300.0, 2.98, 900.0), "T1w"),
        ((7.0, 3.1, 450.0), "T1w"),
        ((550.0, 10.0, None), "T1w"),
        ((5000.0, 395.0, 1800.0), "FLAIR"),
        ((9000.0, 120.0, 2500.0), "FLAIR"),
        ((4500.0, 100.0, None), "T2w"),
        ((3200.0, 409.0, 0.0), "T2w"),
        ((3000.0, 30.0, None), ""),
        ((8000.0, 80.0, 200.0), ""),
        ((None, 80.0, None), ""),
        ((2000.0, None, None), ""),
    ],
)
def test_a_sequence_says_its_contrast(times: tuple[float | None, ...], contrast: str) -> None:
    assert contrast_of_times(*times) == contrast
