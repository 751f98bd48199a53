"""The panel: its sections, in the order of the work, and what they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from IterMask3DLib.scene.logic import SceneLogic
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.records import Description
from IterMask3DLib.ui.advanced_section import AdvancedSection
from IterMask3DLib.ui.anomaly_section import AnomalySection
from IterMask3DLib.ui.batch_section import BatchSection
from IterMask3DLib.ui.continue_section import ContinueSection
from IterMask3DLib.ui.heatmap_section import HeatmapSection
from IterMask3DLib.ui.input_section import InputSection
from IterMask3DLib.ui.install_section import InstallSection
from IterMask3DLib.ui.iterations_section import IterationsSection
from IterMask3DLib.ui.messages import Messages
from IterMask3DLib.ui.save_section import SaveSection
from IterMask3DLib.ui.segment_section import SegmentSection
from IterMask3DLib.ui.session import Session
from IterMask3DLib.ui.shortcuts import Shortcuts


class Panel:
    """Composes the sections; shows the results of whatever volume is selected."""

    def __init__(self, ui: Any, logic: SceneLogic, resources: Path) -> None:
        self.session = Session(ui, logic, Messages(ui), slicer.util.confirmYesNoDisplay)
        self.session.refresh = self.update
        self.install = InstallSection(self.session, resources / "requirements.txt", self.describe)
        self.input = InputSection(self.session)
        self.segment = SegmentSection(self.session, self.input)
        self.iterations = IterationsSection(self.session)
        self.heatmap = HeatmapSection(self.session)
        self.anomaly = AnomalySection(self.session)
        self.advanced = AdvancedSection(self.session, self.input)
        self._updated = (
            self.install,
            self.input,
            self.segment,
            self.iterations,
            self.heatmap,
            ContinueSection(self.session),
            self.anomaly,
            SaveSection(self.session),
            BatchSection(self.session),
            self.advanced,
        )
        self.shortcuts = Shortcuts(ui, self.anomaly.lesions)
        self._updating = False
        logic.on_state_changed = lambda _state: self.update()
        self.describe()

    def describe(self) -> None:
        """Asks the engine for its models, methods and missing packages; the panel is there meanwhile."""
        self.session.logic.describe(on_done=self._described, on_error=self.session.messages.problem)

    def set_parameters(self, parameters: Any) -> None:
        """Shows another set of parameters, or none while the scene is being closed."""
        self.session.parameters = parameters
        if parameters is None:
            self._forget_scene()
            return
        self.input.choose_first_volume()
        self.session.ui.engineLineEdit.text = parameters.engineCommand
        self.session.attempt(lambda: self.advanced.use_engine(parameters.engineCommand))
        self.input.select_model()
        self.update()

    def update(self, *_event: object) -> None:
        """Shows the state of the logic, the parameters and the results, in every section.

        Showing can change parameters, which would show again: that happens once.
        """
        # Half of a scene that is being read is nothing to show: its nodes come before their voxels.
        if self._updating or slicer.mrmlScene.IsImporting() or slicer.mrmlScene.IsClosing():
            return
        self._updating = True
        try:
            self._find_results()
            parameters = self.session.parameters
            self.session.logic.follow_run = parameters is None or parameters.followRun
            for section in self._updated:
                section.update()
        finally:
            self._updating = False

    def enter(self) -> None:
        self.input.choose_first_volume()
        self.anomaly.editor.enter()
        self.shortcuts.set_enabled(True)
        self.update()

    def leave(self) -> None:
        """Another module is shown: what runs goes on, but the views are given back."""
        self.heatmap.leave()
        self.anomaly.editor.leave()
        self.shortcuts.set_enabled(False)

    def close(self) -> None:
        """Ends the run and the engine, and takes away what the panel added to the scene."""
        self._forget_scene()
        self.input.close()
        self.shortcuts.close()
        self.session.logic.close()

    def _described(self, description: Description) -> None:
        self.input.show_models(description)
        self.update()

    def _find_results(self) -> None:
        parameters = self.session.parameters
        volume = parameters.inputVolume if parameters is not None else None
        found = ResultNodes.find(volume) if volume is not None else None
        known = self.session.nodes
        if found is None or known is None or found.root is not known.root:
            self.session.nodes = found

    def _forget_scene(self) -> None:
        self.session.nodes = self.session.edited_mask = None
        self.input.forget_scene()
        self.heatmap.leave()
        self.iterations.close()
        self.anomaly.editor.close()
