"""What the user chooses; kept in the scene, and saved with it."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Union

from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from IterMask3DLib.scene.records import RunOptions, SaveOptions


class Start(enum.Enum):
    """What the shrink phase starts from. Scenes keep the names of the members: do not rename them."""

    BRAIN = "brain"
    BEST = "best"


class Quality(enum.Enum):
    """How much work a run is: the passes that decide, every pass, or the paper alone with every pass."""

    AUTO = "auto"
    FAST = "fast"
    FULL = "full"
    PUBLISHED = "published"


class Device(enum.Enum):
    """Where the network runs."""

    AUTO = "auto"
    CUDA = "cuda"
    MPS = "mps"
    CPU = "cpu"


class Precision(enum.Enum):
    """In what the convolutions are computed."""

    AUTO = "auto"
    HALF = "half"
    SINGLE = "single"


_HALF = {Precision.AUTO: None, Precision.HALF: True, Precision.SINGLE: False}


@parameterNodeWrapper
class Parameters:
    """Everything the panel remembers; the names are those of the properties SlicerParameterName in the .ui file."""

    inputVolume: vtkMRMLScalarVolumeNode
    # Slicer 5.10 does not understand A | B here.
    brainMask: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    outputSegmentation: vtkMRMLSegmentationNode
    model: str = ""
    modelGamma: bool = True
    gamma: Annotated[float, WithinRange(0.001, 3.0)] = 0.05
    quality: Quality = Quality.AUTO
    start: Start = Start.BRAIN
    seed: Annotated[int, WithinRange(0, 99999)] = 0
    device: Device = Device.AUTO
    precision: Precision = Precision.AUTO
    sweepPasses: Annotated[int, WithinRange(5, 400)] = 100
    followRun: bool = True
    maskVisible: bool = True
    heatmapVisible: bool = True
    heatmapLive: bool = False
    heatmapOpacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.6
    legendVisible: bool = False
    saveSegmentation: bool = True
    saveNifti: bool = True
    saveHeatmap: bool = True
    saveLesions: bool = True
    saveReport: bool = True
    saveIterations: bool = False
    saveScene: bool = False
    skipExisting: bool = True


def runOptions(parameters: Any) -> RunOptions:
    """The options of a run as the panel shows them."""
    return RunOptions(
        model=parameters.model or None,
        gamma=None if parameters.modelGamma else parameters.gamma,
        start=parameters.start.value,
        seed=parameters.seed,
        device=parameters.device.value,
        half=_HALF[parameters.precision],
        passes=parameters.sweepPasses,
        quality=parameters.quality.value,
    )


def saveOptions(parameters: Any) -> SaveOptions:
    """What is ticked under Save."""
    return SaveOptions(
        segmentation=parameters.saveSegmentation,
        nifti=parameters.saveNifti,
        heatmap=parameters.saveHeatmap,
        lesions=parameters.saveLesions,
        iterations=parameters.saveIterations,
        report=parameters.saveReport,
        scene=parameters.saveScene,
    )
