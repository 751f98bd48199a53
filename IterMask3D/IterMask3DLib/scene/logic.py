"""Everything the panel does, callable without it: from the Python console, from a script, from a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene import batch, checks, iterations, lesion_nodes, model_list, saving, tables, views, volumes
from IterMask3DLib.scene.diagnostics import diagnostics, missingPackages
from IterMask3DLib.scene.geometry import vtkOrder
from IterMask3DLib.scene.hierarchy import placeResults
from IterMask3DLib.scene.nodes import ResultNodes, needInput
from IterMask3DLib.scene.records import BatchCase, Finding, LesionRow, ModelInfo, RunOptions, SaveOptions, StepInfo
from IterMask3DLib.scene.run_logic import OnDone, OnError, OnLog, OnProgress, RunLogic, listenerOf
from IterMask3DLib.scene.segmentations import ensureSegment, ensureSegmentation, segmentMl, tagEdited, writeSegment
from IterMask3DLib.scene.words import tr as _

_DEFAULT = RunOptions()
_SAVE_ALL = SaveOptions()
_EDIT_RGB = (0.25, 0.75, 1.0)


class SceneLogic(RunLogic):
    """The logic of the module: models, input, runs, iterations, views, lesions, files."""

    # Models

    def models(self) -> list[ModelInfo]:
        """Every model of this machine, the default first; torch is not needed."""
        return model_list.listModels()

    def installModel(self, source: str | Path, overwrite: bool = False) -> ModelInfo:
        """Installs a model folder or zip file. Raises `UserError`."""
        return model_list.installModel(Path(source), overwrite)

    def modelFolder(self) -> Path | None:
        """Where models are installed; None while the package that knows the place is missing."""
        return model_list.userFolder()

    def clearModelFolder(self) -> int:
        """Removes the installed models and returns how many there were. Raises `UserError`."""
        return model_list.clearModels()

    # Input

    def checkInput(self, volumeNode: Any, brainMaskNode: Any = None, options: RunOptions = _DEFAULT) -> list[Finding]:
        """What is wrong or odd about an input, the worst first."""
        model = model_list.findModel(options.model)
        findings = checks.checkInput(volumeNode, brainMaskNode, model)
        if model is None:
            findings.insert(0, checks.noModel(options.model))
        return findings

    def hardenTransform(self, volumeNode: Any) -> None:
        """Writes the transform a volume hangs under into its geometry. Raises `UserError` for one that bends."""
        transform = volumeNode.GetParentTransformNode()
        if transform is not None and not transform.IsTransformToWorldLinear():
            raise UserError(
                _("{transform} bends space; resample {volume} with it instead.").format(
                    transform=transform.GetName(), volume=volumeNode.GetName()
                )
            )
        volumeNode.HardenTransform()

    # Iterations

    def showIteration(self, nodes: ResultNodes, item: int) -> StepInfo:
        """Steps the sequence browser, and with it mask, error map and reconstruction. Raises `UserError`."""
        info = self._step(nodes, item)
        iterations.select(nodes, item)
        return info

    def stepInfo(self, nodes: ResultNodes, item: int) -> StepInfo | None:
        """The numbers of an iteration, None where there is none of that number."""
        steps = nodes.steps
        return steps[item] if 0 <= item < len(steps) else None

    def useIteration(self, nodes: ResultNodes, item: int) -> None:
        """Copies the mask of an iteration into the anomaly, on the grid of the input. Raises `UserError`."""
        mask = self._maskOnInput(nodes, item)
        if nodes.brain is not None:
            # On finer voxels a mask reaches a little beyond the brain; a run cuts that off as well.
            mask &= slicer.util.arrayFromVolume(nodes.brain)
        self._writeEdited(nodes, mask)

    def editIteration(self, nodes: ResultNodes, item: int) -> tuple[Any, str]:
        """A segmentation with the mask of an iteration to paint on, for `continueFrom`. Raises `UserError`."""
        mask = self._maskOnInput(nodes, item)
        node = nodes.own("editedMask", "mask to edit")
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(nodes.input)
        node.GetSegmentation().RemoveAllSegments()
        segmentId = node.GetSegmentation().AddEmptySegment("mask", "Mask", _EDIT_RGB)
        writeSegment(node, segmentId, mask, nodes.input)
        placeResults(nodes)
        return node, str(segmentId)

    def _maskOnInput(self, nodes: ResultNodes, item: int) -> NDArray[np.uint8]:
        """The mask of an iteration on the grid of the input, in VTK's order [k, j, i]."""
        self._step(nodes, item)
        return vtkOrder(self._gridMap(nodes).toInput(iterations.iterationMask(nodes, item))).view(np.uint8)

    def _step(self, nodes: ResultNodes, item: int) -> StepInfo:
        info = self.stepInfo(nodes, item)
        if info is None:
            raise UserError(_("There is no iteration {number}.").format(number=item + 1))
        return info

    def _writeEdited(self, nodes: ResultNodes, array: NDArray[np.uint8]) -> list[LesionRow]:
        """Writes the anomaly by the user's hand, with the undo checkpoint before, and measures it."""
        with self._watch.ownWriting():
            node = ensureSegmentation(nodes)
            self._beforeWrite(node)
            writeSegment(node, ensureSegment(nodes), array, nodes.input)
            tagEdited(nodes)
        self._watch.watch(nodes)
        placeResults(nodes)
        return self.measureLesions(nodes)

    # Views

    def showMask(self, nodes: ResultNodes, visible: bool, opacity: float = 0.5) -> None:
        """The mask of the shown iteration as the label layer."""
        if visible and nodes.maskProxy is not None:
            views.showLabel(nodes.maskProxy, opacity)
        else:
            views.hideLabel(nodes)

    def showHeatmap(self, nodes: ResultNodes, visible: bool, opacity: float = 0.6, live: bool = False) -> None:
        """The heatmap over the volume; `live`: the error map of the shown iteration instead."""
        node = nodes.errorProxy if live else nodes.heatmap
        if visible and node is not None:
            views.showForeground(node, opacity)
        else:
            views.hideForeground(nodes)

    def setHeatmapRange(self, nodes: ResultNodes, low: float, high: float) -> None:
        """The errors that get the first and the last colour."""
        for node in self._errors(nodes):
            node.GetDisplayNode().SetWindowLevelMinMax(low, high)

    def setHeatmapThreshold(self, nodes: ResultNodes, low: float | None) -> None:
        """Makes smaller errors transparent; None shows all."""
        for node in self._errors(nodes):
            volumes.setShownFrom(node, low)

    def heatmapRange(self, nodes: ResultNodes) -> tuple[float, float]:
        """0 and the largest error."""
        return (0.0, volumes.valueRange(nodes.heatmap)[1]) if nodes.heatmap is not None else (0.0, volumes.LARGE_ERROR)

    def showLegend(self, nodes: ResultNodes, visible: bool) -> None:
        """The colour legend of the heatmap."""
        if nodes.heatmap is not None:
            views.showLegend(nodes.heatmap, visible)

    def thresholdHeatmap(self, nodes: ResultNodes, threshold: float) -> float:
        """Writes the voxels whose error is above a threshold into the anomaly, without the network; returns their millilitres."""
        needInput(nodes)
        if nodes.heatmap is None:
            raise UserError(_("There is no heatmap yet; run Segment first."))
        self._writeEdited(nodes, (slicer.util.arrayFromVolume(nodes.heatmap) > threshold).view(np.uint8))
        return segmentMl(nodes)

    def compare(self, nodes: ResultNodes) -> bool:
        """Original, reconstruction and error side by side; False where there is nothing to compare or no layout."""
        return self._layouts.compare(nodes)

    def leaveCompare(self) -> None:
        """The user's layout comes back."""
        self._layouts.back()

    def showCurve(self, nodes: ResultNodes) -> bool:
        """The threshold curve as a plot in the layout; False where there is no curve or no layout."""
        return self._layouts.showPlot(nodes)

    def hideCurve(self) -> None:
        """The user's layout comes back."""
        self._layouts.back()

    def _errors(self, nodes: ResultNodes) -> list[Any]:
        return [node for node in (nodes.heatmap, nodes.errorProxy) if node is not None and node.GetDisplayNode() is not None]

    # Lesions

    def lesions(self, nodes: ResultNodes) -> list[LesionRow]:
        """The lesions as last measured, largest first."""
        return tables.readLesions(nodes.lesionTable)

    def measureLesions(self, nodes: ResultNodes) -> list[LesionRow]:
        """Measures the lesions of the anomaly as it is now."""
        if not nodes.segmentId:
            return []
        found = lesion_nodes.measure(nodes).rows
        lesion_nodes.writeLesions(nodes, found)
        return list(found)

    def jumpToLesion(self, nodes: ResultNodes, number: int) -> None:
        """Brings the slice views to a lesion. Raises `UserError`."""
        lesion_nodes.jump(nodes, number)

    def deleteLesions(self, nodes: ResultNodes, numbers: Sequence[int]) -> list[LesionRow]:
        """Takes lesions out of the anomaly; returns those that are left, with new numbers. Raises `UserError`."""
        return self._writeEdited(nodes, lesion_nodes.without(nodes, lesion_nodes.listed(nodes), numbers))

    def keepLesions(self, nodes: ResultNodes, numbers: Sequence[int]) -> list[LesionRow]:
        """Takes all other lesions out of the anomaly. Raises `UserError`."""
        return self._writeEdited(nodes, lesion_nodes.only(nodes, lesion_nodes.listed(nodes), numbers))

    def saveLesions(self, nodes: ResultNodes, path: str | Path) -> Path:
        """Writes the lesions as CSV. Raises `UserError`."""
        try:
            return lesion_nodes.saveTable(nodes, Path(path))
        except OSError as error:
            raise UserError(
                _("{path} cannot be written ({reason}); choose another place.").format(path=path, reason=error.strerror)
            ) from None

    # Files

    def save(self, nodes: ResultNodes, folder: str | Path, what: SaveOptions = _SAVE_ALL) -> list[Path]:
        """Writes the chosen files into a folder and returns them. Raises `UserError`."""
        return saving.save(nodes, Path(folder), what)

    def startBatch(
        self,
        inputFolder: str | Path,
        outputFolder: str | Path,
        options: RunOptions = _DEFAULT,
        skipExisting: bool = True,
        *,
        onCase: Callable[[BatchCase], None] | None = None,
        onProgress: OnProgress | None = None,
        onDone: OnDone | None = None,
        onError: OnError | None = None,
        onLog: OnLog | None = None,
    ) -> int:
        """Segments every volume of a folder into another one, with a summary; `cancel` stops it, `onDone` gets the cases. Raises `UserError`."""
        checks.refuse(checks.checkOptions(options))
        order = batch.BatchOrder(batch.findCases(Path(inputFolder)), batch.writable(Path(outputFolder)), options, skipExisting)
        listener = listenerOf(None, onProgress, onDone, onError, onLog)
        engine = self._bench.engine
        return self._runs.launch(lambda control: batch.runBatch(engine, order, control), batch.BatchReceiver(listener, onCase, order.cases))

    # Housekeeping

    def diagnostics(self) -> str:
        """Versions, devices and models as a text to paste."""
        return diagnostics()

    def missingPackages(self) -> list[str]:
        """What the engine needs and this Python lacks."""
        return missingPackages()

    def freeGpuMemory(self) -> str:
        """Forgets the model and the volume of the last run; returns a sentence. Raises `UserError` while something runs."""
        if self.busy:
            raise UserError(_("Something is running; cancel it or wait for its end."))
        self._bench.forget()
        self._bench.engine.release()
        return _("The memory of the device was given back; the next run reads the model again.")
