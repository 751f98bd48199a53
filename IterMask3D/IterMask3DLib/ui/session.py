"""What the sections of the panel share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene.logic import SceneLogic
from IterMask3DLib.scene.nodes import ResultNodes
from IterMask3DLib.ui.messages import Messages


class Session:
    """The logic, the parameters and the results that are shown.

    `refresh` shows everything anew; `runCallbacks` are what every run is started with; `missing` are packages the engine lacks. The sections set
    them.
    """

    def __init__(self, ui: Any, logic: SceneLogic, messages: Messages) -> None:
        self.ui, self.logic, self.messages = ui, logic, messages
        self.parameters: Any = None
        self.nodes: ResultNodes | None = None
        self.editedMask: tuple[Any, str] | None = None
        self.refresh: Callable[[], None] = lambda: None
        self.runCallbacks: dict[str, Callable[..., None]] = {}
        self.missing: list[str] = []

    def attempt(self, action: Callable[[], Any]) -> Any:
        """Does what the user asked; a problem the user can mend is told in the status line. Returns what the action returns, or None."""
        try:
            return action()
        except UserError as error:
            self.messages.problem(str(error))
            return None

    def run(self, start: Callable[..., int]) -> None:
        """Starts a run (`start` takes the callbacks of the panel) and shows that it goes on."""
        self.attempt(lambda: start(**self.runCallbacks))
        self.refresh()

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
