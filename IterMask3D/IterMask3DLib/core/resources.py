"""Finds the files that ship with the software."""

from __future__ import annotations

from pathlib import Path

from IterMask3DLib.core.errors import UserError

_LIBRARY = Path(__file__).resolve().parents[1]


def resource(*parts: str) -> Path:
    """A shipped file or folder, in a wheel (inside the package) or in a checkout or Slicer extension (beside it).

    Raises `UserError` if it is missing.
    """
    for root in (_LIBRARY / "_resources", _LIBRARY.parent / "Resources"):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise UserError(f"The shipped resource {'/'.join(parts)} is missing; install the software again.")


def sample_volume() -> Path:
    """The bundled brain."""
    return resource("SampleData", "open_ms_patient19_T1.nii.gz")
