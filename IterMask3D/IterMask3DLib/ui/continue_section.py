"""Continue from here: the mask of an iteration is edited by hand, and the loop goes on from it."""

from __future__ import annotations

from slicer.i18n import tr as _

from IterMask3DLib.ui.session import Session


class ContinueSection:
    """The edited mask is a segmentation of its own, never the anomaly."""

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self._ui.editMaskButton.connect("clicked()", self.onEdit)
        self._ui.continueButton.connect("clicked()", self.onContinue)

    def update(self) -> None:
        edited = self._session.editedMask
        if edited is not None and edited[0].GetScene() is None:
            self._session.editedMask = edited = None
        self._ui.editMaskButton.enabled = self._session.ready and self._session.item >= 0
        self._ui.continueButton.enabled = self._session.ready and edited is not None

    def onEdit(self) -> None:
        nodes, item = self._session.result, self._session.item
        self._session.editedMask = self._session.attempt(lambda: self._session.logic.editIteration(nodes, item))
        if self._session.editedMask is not None:
            self._session.messages.tell(
                _("Paint or erase on the mask of iteration {number} in the editor, then press Continue.").format(number=item + 1)
            )
        self._session.refresh()

    def onContinue(self) -> None:
        assert self._session.editedMask is not None
        nodes, (segmentation, segment) = self._session.result, self._session.editedMask
        self._session.run(lambda **callbacks: self._session.logic.continueFrom(nodes, segmentation, segment, **callbacks))
        if self._session.logic.busy:
            self._session.editedMask = None
            self._session.refresh()
