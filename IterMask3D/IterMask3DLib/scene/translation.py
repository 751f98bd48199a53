"""Translates what users read, with Slicer's own function; without Slicer's Python layer texts stay as they are."""

from __future__ import annotations

from typing import Any

try:
    from slicer.i18n import tr as _translate
except ImportError:

    def _translate(text: str) -> str:
        return text


def tr(text: str, **values: Any) -> str:
    """A text in the user's language, its placeholders filled in."""
    translated = str(_translate(text))
    return translated.format(**values) if values else translated
