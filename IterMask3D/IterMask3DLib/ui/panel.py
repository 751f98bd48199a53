"""The panel: its sections, in the order of the work, and what they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from IterMask3DLib.scene.logic import SceneLogic
from IterMask3DLib.scene.nodes import ResultNodes
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


class Panel:
    """Composes the sections; shows the results of whatever volume is selected."""

    def __init__(self, ui: Any, logic: SceneLogic, resources: Path) -> None:
        self.session = Session(ui, logic, Messages(ui))
        self.session.refresh = self.update
        self.install = InstallSection(self.session, resources / "requirements.txt")
        self.input = InputSection(self.session)
        self.segment = SegmentSection(self.session, self.input)
        self.iterations = IterationsSection(self.session)
        self.heatmap = HeatmapSection(self.session)
        self.anomaly = AnomalySection(self.session)
        self.advanced = AdvancedSection(self.session, self.input)
        self._updated = (
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
        self._updating = False
        logic.onStateChanged = lambda _state: self.update()

    def setParameters(self, parameters: Any) -> None:
        """Shows another set of parameters, or none while the scene is being closed."""
        self.session.parameters = parameters
        if parameters is None:
            self._forgetScene()
            return
        self.advanced.nameChoices()
        self.input.selectModel()
        self.update()

    def update(self, *_event: object) -> None:
        """Shows the state of the logic, the parameters and the results, in every section; showing changes parameters, once."""
        # Half of a scene that is being read is nothing to show: its nodes come before their voxels.
        if self._updating or slicer.mrmlScene.IsImporting() or slicer.mrmlScene.IsClosing():
            return
        self._updating = True
        try:
            self._findResults()
            self.session.logic.followRun = self.session.parameters is None or self.session.parameters.followRun
            for section in self._updated:
                section.update()
        finally:
            self._updating = False

    def enter(self) -> None:
        self.anomaly.editor.enter()
        self.update()

    def leave(self) -> None:
        """Another module is shown: what runs goes on, but the views are given back."""
        self.heatmap.leave()
        self.anomaly.editor.leave()

    def close(self) -> None:
        """Ends the run, and takes away what the panel added to the scene."""
        self._forgetScene()
        self.session.logic.close()

    def _findResults(self) -> None:
        parameters = self.session.parameters
        volume = parameters.inputVolume if parameters is not None else None
        found = ResultNodes.find(volume) if volume is not None else None
        known = self.session.nodes
        if found is None or known is None or found.root is not known.root:
            self.session.nodes = found

    def _forgetScene(self) -> None:
        self.session.nodes = self.session.editedMask = None
        self.input.close()
        self.heatmap.leave()
        self.iterations.close()
        self.anomaly.editor.close()
