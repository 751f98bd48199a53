"""Translates what users read, with Slicer's own function; where MRML runs without Slicer's Python layer, texts stay as they are."""

from __future__ import annotations

try:
    from slicer.i18n import tr
except ImportError:

    def tr(text: str) -> str:
        """The text itself."""
        return text
