"""Translates what users read, with Slicer's own function: on the main thread only, for the worker knows no Qt.

Where MRML runs without Slicer's Python layer, words stay as they are.
"""

from __future__ import annotations

try:
    from slicer.i18n import tr
except ImportError:

    def tr(text: str) -> str:
        """The text itself."""
        return text
