"""The Slicer module: thin classes around IterMask3DLib.scene (what is done) and IterMask3DLib.ui (how it is shown)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from IterMask3DLib.scene.logic import SceneLogic
from IterMask3DLib.scene.run.engine_client import engine_command

_SAMPLES = Path(__file__).parent / "Resources" / "SampleData"
_SAMPLE_CHECKSUMS = {
    "T1": "SHA256:b85c2c4ba0c1369d8ba23f915f3a67e7247f0c90f044c8a4c0d5f23f4a48077b",
    "T2": "SHA256:8abed48b1bfaedc453e1397189b9d3bb226bc7f7738cb32e8ebde3eb2ff69d65",
    "FLAIR": "SHA256:dea6cdaeaa3457310db875878e712351f2b74d3e78d56eb50d30eb32d04a09b0",
}
_DOCUMENTATION = "https://github.com/SlicerIterMask3D/SlicerIterMask3D#in-3d-slicer"
_POLL_MS = 100


class IterMask3D(ScriptedLoadableModule):
    """Describes the module to Slicer."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("IterMask3D")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["The IterMask3D developers"]
        parent.helpText = _(
            "Finds what a network of healthy brains cannot explain in a brain MRI, pass by pass, and lets you step "
            "through every pass, correct it and save it. Research software, not a medical device: not for diagnosis or "
            "treatment. The same engine runs from the command itermask3d and from Python: see IterMask3DLogic.process "
            "and IterMask3DLib.run.run_case."
        )
        parent.helpText += f'<p><a href="{_DOCUMENTATION}">{_("Documentation and tutorial")}</a></p>'
        parent.acknowledgementText = _(
            "Method: Liang et al., IterMask3D, Medical Image Analysis 107, 103763. Sample brain: open_ms_data (CC BY). "
            "Model: IXI data set (CC BY-SA 3.0)."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


class IterMask3DWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Follows the life of the module's panel: shown, hidden, scene closed, module reloaded."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self.panel: Any = None
        self._parameters: Any = None
        self._binding: Any = None

    def setup(self) -> None:
        """Builds the panel. Slicer calls this when the user opens the module for the first time."""
        from IterMask3DLib.ui.panel import Panel

        ScriptedLoadableModuleWidget.setup(self)
        form = slicer.util.loadUI(self.resourcePath("UI/IterMask3D.ui"))
        self.layout.addWidget(form)
        self.ui = slicer.util.childWidgetVariables(form)
        form.setMRMLScene(slicer.mrmlScene)
        self.logic = self.make_logic()
        self.panel = Panel(self.ui, self.logic, Path(self.resourcePath("")))
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.use_parameters()

    def make_logic(self) -> IterMask3DLogic:
        return IterMask3DLogic()

    def cleanup(self) -> None:
        """The panel goes: nothing that it started stays."""
        self.drop_parameters()
        if self.panel is not None:
            self.panel.close()
            self.panel = None
        self.removeObservers()

    def enter(self) -> None:
        self.use_parameters()
        self.panel.enter()

    def exit(self) -> None:
        self.panel.leave()

    def onSceneStartClose(self, _caller: Any, _event: Any) -> None:
        self.logic.cancel()
        self.drop_parameters()

    def onSceneEndClose(self, _caller: Any, _event: Any) -> None:
        if self.parent.isEntered:
            self.use_parameters()

    def onSceneEndImport(self, _caller: Any, _event: Any) -> None:
        # A loaded scene brings the parameters with which it was saved.
        self.drop_parameters()
        self.use_parameters()

    def use_parameters(self) -> None:
        """Binds the panel to the parameter node of the scene, which is made if there is none."""
        from IterMask3DLib.ui.parameters import Binding, Parameters, upgrade

        if self._parameters is not None:
            return
        node = self.logic.getParameterNode()
        upgrade(node)
        # Kept for as long as it is bound: Slicer 5.10 calls a collected one and ends.
        self._parameters = Parameters(node)
        self._binding = Binding(self._parameters, self.ui)
        self.addObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.panel.update)
        self.panel.set_parameters(self._parameters)

    def drop_parameters(self) -> None:
        if self._parameters is None:
            return
        self._binding.undo()
        self.removeObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.panel.update)
        self._parameters = self._binding = None
        self.panel.set_parameters(None)

    def onReload(self) -> None:
        """For developers: Slicer reloads this file only, so the library is forgotten first."""
        for name in [name for name in sys.modules if name.split(".")[0] == "IterMask3DLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)


class IterMask3DLogic(SceneLogic, ScriptedLoadableModuleLogic):
    """Everything the panel does, without the panel: see `SceneLogic`. `process` waits for the result, `start` not."""

    def __init__(self, open_transport: Any = None) -> None:
        from IterMask3DLib.ui.engine_process import process_of

        ScriptedLoadableModuleLogic.__init__(self)
        SceneLogic.__init__(self, open_transport or process_of(engine_command()), make_timer)


def make_timer(tick: Callable[[], None]) -> qt.QTimer:
    """A timer that calls `tick` ten times a second once it is started."""
    timer = qt.QTimer()
    timer.setInterval(_POLL_MS)
    timer.connect("timeout()", tick)
    return timer


class IterMask3DTest(ScriptedLoadableModuleTest):
    """Runs in Slicer: the module on its own sample, from volume to segmentation. Needs what the panel installs."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_sample()

    def test_sample(self) -> None:
        """The sample has multiple sclerosis: an anomaly is found on the grid of the volume, and a scene keeps it."""
        logic = IterMask3DLogic()
        missing = logic.wait_for(logic.describe).missing
        if missing:
            self.skipTest(f"the engine needs {', '.join(missing)}")
        volume = slicer.util.loadVolume(str(_sample("T1")), {"name": _sample_name("T1")})
        self.delayDisplay("Segmenting the sample")
        summary = logic.process(volume)
        nodes = summary.nodes
        self.assertFalse(summary.cancelled)
        self.assertGreater(summary.anomaly_ml, 0)
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(nodes.segmentation, nodes.segment_id, volume)
        self.assertEqual(mask.shape, slicer.util.arrayFromVolume(volume).shape)
        self.assertEqual(nodes.browser.GetNumberOfItems(), len(nodes.steps))
        self.delayDisplay("Saving the scene and opening it again")
        scene = Path(slicer.app.temporaryPath) / "IterMask3DTest.mrb"
        self.assertTrue(slicer.util.saveScene(str(scene)))
        slicer.mrmlScene.Clear()
        slicer.util.loadScene(str(scene), {})
        self.assertTrue(logic.lesions(type(nodes).all()[0]))
        logic.close()


def registerSampleData() -> None:
    """Offers the bundled brain in Sample Data, each contrast; it is read from the module's folder, not downloaded."""
    import SampleData

    for contrast, checksum in _SAMPLE_CHECKSUMS.items():
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="IterMask3D",
            sampleName=_sample_name(contrast),
            uris=_sample(contrast).as_uri(),
            fileNames=_sample(contrast).name,
            nodeNames=_sample_name(contrast),
            checksums=checksum,
            thumbnailFileName=str(_SAMPLES / f"open_ms_patient19_{contrast}.png"),
            loadFileTypes="VolumeFile",
        )


def _sample(contrast: str) -> Path:
    return _SAMPLES / f"open_ms_patient19_{contrast}.nii.gz"


def _sample_name(contrast: str) -> str:
    return f"MultipleSclerosis_{contrast}"
