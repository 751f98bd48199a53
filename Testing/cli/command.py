"""The command line, run in this process."""

from __future__ import annotations

import pytest

from IterMask3DLib import cli

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
"""Files of a case of an iterative model, after its name."""


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The only error line on stderr; fails on a traceback."""
    printed = capsys.readouterr().err
    lines = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, printed
    assert "Traceback" not in printed
    return lines[0]
