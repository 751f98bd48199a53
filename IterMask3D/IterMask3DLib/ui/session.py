"""What the sections of the panel share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.scene.logic import SceneLogic
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.records import NeedsConfirmation, SettingInfo
from IterMask3DLib.ui.messages import Messages
from IterMask3DLib.ui.node_selectors import other_channels
from IterMask3DLib.ui.parameters import chosen_settings

Ask = Callable[[str], bool]
"""Asks the user a question that is answered with yes or no."""


class Session:
    """The logic, the parameters and the results that are shown.

    Attributes:
        refresh: shows everything anew; run_callbacks: what every run is started with. The sections set them.
    """

    def __init__(self, ui: Any, logic: SceneLogic, messages: Messages, ask: Ask) -> None:
        self.ui, self.logic, self.messages, self._ask = ui, logic, messages, ask
        self.parameters: Any = None
        self.nodes: ResultNodes | None = None
        self.edited_mask: tuple[Any, str] | None = None
        self.refresh: Callable[[], None] = lambda: None
        self.run_callbacks: dict[str, Callable[..., None]] = {}

    def attempt(self, action: Callable[[], Any]) -> Any:
        """Does what the user asked; a problem the user can solve is told in the status line.

        Returns what the action returns, or None.
        """
        try:
            return action()
        except UserError as error:
            self.messages.problem(str(error))
            return None

    def run(self, start: Callable[..., Any]) -> None:
        """Starts a run (`start` takes the callbacks of the panel) and shows that it goes on.

        Where the run would replace an anomaly that the user has edited, the user is asked.
        """
        self.attempt(lambda: self._confirmed(start))
        self.refresh()

    def _confirmed(self, start: Callable[..., Any]) -> Any:
        try:
            return start(**self.run_callbacks)
        except NeedsConfirmation:
            question = _("The anomaly was edited by hand. Keep it, and write the new result into another segmentation?")
            how = "new" if self._ask(question) else "replace"
            if how == "replace" and not self._ask(_("Replace the edited anomaly? Undo in the editor brings it back.")):
                return None
            return start(when_edited=how, **self.run_callbacks)

    @property
    def request(self) -> Request:
        """The choices of the panel as the one record that a run takes."""
        general, method = chosen_settings(self.parameters)
        known = self.settings if self.logic.description is not None else method
        # What the user chose for the method of another model waits until that one is chosen again.
        settings = {name: value for name, value in method.items() if name in known}
        return Request(model=self.parameters.model or None, **general, settings=settings)

    @property
    def settings(self) -> dict[str, SettingInfo]:
        """The settings of the chosen model's method that have an effect, with the others as they are."""
        if self.logic.description is None or self.parameters is None:
            return {}
        known = self.logic.description.settings(self.parameters.model or None)
        chosen = chosen_settings(self.parameters)[1]
        values = {name: chosen.get(name, info.value) for name, info in known.items()}
        needs = {name: info.about.when for name, info in known.items()}
        return {name: info for name, info in known.items() if (n := needs[name]) is None or values.get(n[0]) == n[1]}

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the chosen model takes, as far as is known."""
        known = self.logic.description.model(self.parameters.model or None) if self.logic.description else None
        return tuple(known["inputs"]) if known is not None else ()

    @property
    def volumes(self) -> Any:
        """What a run takes: the volume, or one for each input of a model with several (None where none is chosen)."""
        first, inputs = self.parameters.inputVolume, self.inputs
        if len(inputs) < 2:
            return first
        return {inputs[0]: first, **other_channels(inputs[1:], self.parameters.parameterNode)}

    @property
    def missing(self) -> tuple[str, ...]:
        """Packages the engine lacks, as far as is known."""
        return self.logic.description.missing if self.logic.description is not None else ()

    @property
    def faster(self) -> tuple[str, ...]:
        """Packages that would make the engine faster, as far as is known."""
        return self.logic.description.faster if self.logic.description is not None else ()

    @property
    def capabilities(self) -> frozenset[str]:
        """What the method of the chosen model can give; everything is possible before the engine has answered."""
        if self.logic.description is None or self.parameters is None:
            return frozenset()
        return self.logic.description.capabilities(self.parameters.model or None)

    @property
    def result(self) -> ResultNodes:
        """The results, for slots of controls that are disabled while there are none."""
        assert self.nodes is not None
        return self.nodes

    @property
    def ready(self) -> bool:
        """Whether there are results and nothing is being computed that would change them."""
        return self.nodes is not None and not self.logic.busy

    @property
    def item(self) -> int:
        """The iteration on the slider, from 0; -1 where there is none."""
        browser = self.nodes.browser if self.nodes is not None else None
        return browser.GetSelectedItemNumber() if browser is not None else -1
