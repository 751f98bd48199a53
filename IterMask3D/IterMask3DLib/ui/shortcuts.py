"""Keys for reading one lesion after another; they work in the whole window while the module is shown."""

from __future__ import annotations

from typing import Any

import qt
import slicer.util

from IterMask3DLib.ui.lesion_table import LesionTable


class Shortcuts:
    """N and P: next and previous lesion; A: accept; X: reject; H: heatmap on and off. None without a window."""

    def __init__(self, ui: Any, lesions: LesionTable) -> None:
        self._keys: list[Any] = []
        window = slicer.util.mainWindow()
        if window is None:
            return
        actions = {
            "N": lambda: lesions.go(1),
            "P": lambda: lesions.go(-1),
            "A": lambda: ui.acceptButton.click(),
            "X": lambda: ui.rejectButton.click(),
            "H": lambda: ui.showHeatmapCheckBox.click(),
        }
        self._keys = [qt.QShortcut(qt.QKeySequence(key), window) for key in actions]
        for shortcut, action in zip(self._keys, actions.values(), strict=True):
            shortcut.connect("activated()", action)

    def set_enabled(self, enabled: bool) -> None:
        """Only while the module is shown: other modules have keys of their own."""
        for shortcut in self._keys:
            shortcut.enabled = enabled

    def close(self) -> None:
        """The window forgets them."""
        for shortcut in self._keys:
            shortcut.enabled = False
            shortcut.setParent(None)
        self._keys = []
