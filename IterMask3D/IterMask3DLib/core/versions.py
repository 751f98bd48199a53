"""Versions of what computes, for provenance and diagnostics."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from IterMask3DLib import __version__

COMPUTING = ("torch", "numpy", "scipy", "SimpleITK", "nibabel")
"""Distributions whose versions can change a result."""


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, None where it is missing."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def versions(*more: str) -> dict[str, str]:
    """This software's version and those of what computes."""
    return {"itermask3d": __version__, **{name: version_of(name) or "not installed" for name in (*COMPUTING, *more)}}
