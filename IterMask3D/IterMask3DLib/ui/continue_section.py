"""Continue from here: the mask of an iteration is edited by hand, and the loop goes on from it."""

from __future__ import annotations

from slicer.i18n import tr as _

from IterMask3DLib.ui.session import Session


class ContinueSection:
    """The edited mask is a segmentation of its own, never the anomaly."""

    needs = frozenset({"resume_from_mask"})

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self._ui.editMaskButton.connect("clicked()", self.on_edit)
        self._ui.continueButton.connect("clicked()", self.on_continue)

    def update(self) -> None:
        edited, nodes = self._session.edited_mask, self._session.nodes
        there = nodes is not None and nodes.browser is not None
        self._ui.continueCollapsibleButton.visible = there and self.needs <= self._session.capabilities
        if edited is not None and edited[0].GetScene() is None:
            self._session.edited_mask = edited = None
        self._ui.editMaskButton.enabled = self._session.ready and self._session.item >= 0
        self._ui.continueButton.enabled = self._session.ready and edited is not None

    def on_edit(self) -> None:
        nodes, item = self._session.result, self._session.item
        self._session.edited_mask = self._session.attempt(lambda: self._session.logic.edit_iteration(nodes, item))
        if self._session.edited_mask is not None:
            text = _("Paint or erase on the mask of iteration {number} in the editor, then press Continue.")
            self._session.messages.report(text.format(number=item + 1))
        self._session.refresh()

    def on_continue(self) -> None:
        assert self._session.edited_mask is not None
        nodes, (segmentation, segment) = self._session.result, self._session.edited_mask
        logic = self._session.logic
        self._session.run(lambda **options: logic.continue_from(nodes, segmentation, segment, **options))
        if logic.busy:
            self._session.edited_mask = None
            self._session.refresh()
