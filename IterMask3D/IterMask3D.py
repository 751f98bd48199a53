"""The Slicer module: brings the bundled brain into Sample Data and the engine onto Slicer's Python path."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget

_SAMPLE = Path(__file__).parent / "Resources" / "SampleData" / "open_ms_patient19_T1.nii.gz"
_HELP = _(
    "Finds what a network of healthy brains cannot explain in a brain MRI. Research software, not a medical device: "
    "not for diagnosis or treatment. The engine runs from the command itermask3d and from Python: see IterMask3DLib.pipeline.segment."
)


class IterMask3D(ScriptedLoadableModule):
    """Describes the module to Slicer."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "IterMask3D"
        parent.categories = ["Segmentation"]
        parent.dependencies = []
        parent.contributors = ["The IterMask3D developers"]
        parent.helpText = _HELP
        parent.acknowledgementText = _(
            "Method: Liang et al., IterMask3D, Medical Image Analysis 107, 103763. Sample brain: open_ms_data (CC BY). Model: IXI data set (CC BY-SA 3.0)."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


class IterMask3DWidget(ScriptedLoadableModuleWidget):
    """Says what the module brings and how it is reached."""

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        label = qt.QLabel(_HELP)
        label.wordWrap = True
        self.layout.addWidget(label)
        self.layout.addStretch(1)


def registerSampleData() -> None:
    """Offers the bundled brain in Sample Data; it is read from the module's folder, nothing is downloaded."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="IterMask3D",
        sampleName="BrainT1MultipleSclerosis",
        uris=_SAMPLE.as_uri(),
        fileNames=_SAMPLE.name,
        nodeNames="BrainT1MultipleSclerosis",
        loadFileTypes="VolumeFile",
    )
