"""Stand-ins for the widgets of a sequence browser: the slider and the buttons that play."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from Testing.slicer_host.mrml_base import qMRMLWidget
from Testing.slicer_host.properties import row_of, stand_in, stored
from Testing.slicer_host.watch import Watch


class BrowserWidget(qMRMLWidget):
    """What both widgets of a sequence browser share."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._browser: Any = None
        self._watch = Watch(self)

    def setMRMLSequenceBrowserNode(self, browser: Any) -> None:
        self._watch.clear()
        self._browser = browser
        if browser is not None:
            self._watch.on(browser, ("ModifiedEvent",), "_show")
        self._show()

    def _show(self) -> None:
        raise RuntimeError("each of the two widgets shows the browser in its own way")


@stand_in
class qMRMLSequenceBrowserSeekWidget(BrowserWidget):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._bar, self._label = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal), QtWidgets.QLabel()
        self.setLayout(row_of(self._label, self._bar))
        self._bar.valueChanged.connect(self.setSelectedItemNumber)
        self._show()

    def slider(self) -> QtWidgets.QSlider:
        return self._bar

    def setSelectedItemNumber(self, number: int) -> None:
        if self._browser is not None and number != self._browser.GetSelectedItemNumber() and number >= 0:
            self._browser.SetSelectedItemNumber(number)

    def _show(self) -> None:
        count = self._browser.GetNumberOfItems() if self._browser is not None else 0
        self._bar.setEnabled(count > 0)
        self._bar.blockSignals(True)
        self._bar.setRange(0, max(count - 1, 0))
        if count:
            self._bar.setValue(self._browser.GetSelectedItemNumber())
            self._label.setText(self._browser.GetFormattedIndexValue(self._browser.GetSelectedItemNumber()))
        else:
            self._label.setText("")
        self._bar.blockSignals(False)


@stand_in
class qMRMLSequenceBrowserPlayWidget(BrowserWidget):
    RecordingControlsVisible = stored(bool, "RecordingControlsVisible", True)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        icon = QtWidgets.QStyle.StandardPixmap
        shown = (
            (icon.SP_MediaSkipBackward, "onVcrFirst"),
            (icon.SP_MediaSeekBackward, "onVcrPrevious"),
            (icon.SP_MediaPlay, "onVcrPlayPause"),
            (icon.SP_MediaSeekForward, "onVcrNext"),
            (icon.SP_MediaSkipForward, "onVcrLast"),
        )
        self._buttons = [self._button(*each) for each in shown]
        self.setLayout(row_of(*self._buttons))
        self.layout().addStretch(1)
        self._clock = QtCore.QTimer(self)
        self._clock.timeout.connect(self.onVcrNext)
        self._show()

    def _button(self, icon: Any, slot: str) -> QtWidgets.QToolButton:
        button = QtWidgets.QToolButton()
        button.setIcon(self.style().standardIcon(icon))
        button.clicked.connect(lambda _=False: getattr(self, slot)())
        return button

    def onVcrFirst(self) -> None:
        self._browser.SelectFirstItem()

    def onVcrLast(self) -> None:
        self._browser.SelectLastItem()

    def onVcrPrevious(self) -> None:
        self._browser.SelectNextItem(-1)

    def onVcrNext(self) -> None:
        self._browser.SelectNextItem(1)

    def onVcrPlayPause(self) -> None:
        self.setPlaybackEnabled(not self._browser.GetPlaybackActive())

    def setPlaybackEnabled(self, play: bool) -> None:
        self._browser.SetPlaybackActive(play)

    def _show(self) -> None:
        there = self._browser is not None and self._browser.GetNumberOfItems() > 0
        for button in self._buttons:
            button.setEnabled(there)
        if there and self._browser.GetPlaybackActive():
            self._clock.start(round(1000 / self._browser.GetPlaybackRateFps()))
        else:
            self._clock.stop()
