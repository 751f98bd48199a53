"""The stand-in host itself is under test here."""

from __future__ import annotations

from Testing.slicer_host.fixtures import host

__all__ = ["host"]
