"""Everything the panel does, callable without it: from the Python console, from a script, from a test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.lesion import Lesion
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import Step
from IterMask3DLib.scene.nodes import curve as curves
from IterMask3DLib.scene.nodes import lesions as lesion_nodes
from IterMask3DLib.scene.nodes import segmentations, sequences, volumes
from IterMask3DLib.scene.nodes.input_check import check_input
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes, need_input
from IterMask3DLib.scene.records import SAVEABLE, BatchCase, InputCheck, Severity
from IterMask3DLib.scene.run import conversations, saving
from IterMask3DLib.scene.run.controller import Ask, Job, Listener
from IterMask3DLib.scene.run.result_writer import show_iteration
from IterMask3DLib.scene.run.run_logic import DEFAULT_REQUEST, RunLogic, channels_of
from IterMask3DLib.scene.translation import tr as _
from IterMask3DLib.scene.view import layers

_EDIT_RGB = (0.25, 0.75, 1.0)
_USUAL_FILES = tuple(name for name in SAVEABLE if name != "scene")


class SceneLogic(RunLogic):
    """The logic of the module: models, input, runs, iterations, views, lesions, files."""

    # Input

    def check_input(self, volumes: Any, brain_mask: Any = None, model: str | None = None) -> list[InputCheck]:
        """What is wrong or odd about an input, the worst first.

        Args:
            volumes: a volume node, or one for each input of the model by its name.
        """
        known = self.description.model(model) if self.description is not None else None
        checks = check_input(channels_of(volumes, known), brain_mask, known)
        if known is None and self.description is not None:
            name = model or self.description.default_model
            text = _("Model {name} is neither bundled, installed, nor a folder; choose another one.", name=name)
            checks.insert(0, InputCheck(Severity.ERROR, text))
        return checks

    harden_transform = staticmethod(volumes.harden_transform)

    # Iterations

    def show_iteration(self, nodes: ResultNodes, item: int) -> Step:
        """Steps the sequence browser, and with it every layer of the steps. Raises `UserError`."""
        step = sequences.step_of(nodes, item)
        show_iteration(nodes, item)
        return step

    def step(self, nodes: ResultNodes, item: int) -> Step | None:
        """The numbers of an iteration, None where there is none of that number."""
        steps = nodes.steps
        return steps[item] if 0 <= item < len(steps) else None

    def use_iteration(self, nodes: ResultNodes, item: int) -> list[Lesion]:
        """Copies the mask of an iteration into the anomaly, on the grid of the input. Raises `UserError`."""
        need_input(nodes)
        return self._write_edited(nodes, sequences.mask_on_input(nodes, item))

    def edit_iteration(self, nodes: ResultNodes, item: int) -> tuple[Any, str]:
        """A segmentation with the mask of an iteration to paint on, for `continue_from`. Raises `UserError`."""
        need_input(nodes)
        mask = sequences.mask_on_input(nodes, item)
        node = nodes.own("edited_mask", "mask to edit")
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(nodes.input)
        node.GetSegmentation().RemoveAllSegments()
        segment_id = node.GetSegmentation().AddEmptySegment("mask", "Mask", _EDIT_RGB)
        segmentations.write_segment(node, segment_id, mask, nodes.input)
        nodes.place()
        return node, str(segment_id)

    def _write_edited(
        self, nodes: ResultNodes, array: NDArray[np.uint8], lesions: Sequence[Lesion] | None = None
    ) -> list[Lesion]:
        """Writes the anomaly by the user's hand, with the undo checkpoint before, and its lesions (None: measured)."""
        with self._watch.own_writing(nodes):
            node = segmentations.ensure_segmentation(nodes)
            self._tell("before_write", node)
            segmentations.write_segment(node, segmentations.ensure_segment(nodes), array, nodes.input)
            segmentations.tag_edited(nodes)
        nodes.place()
        found = lesion_nodes.measure(nodes, array.view(np.bool_)) if lesions is None else lesions
        lesion_nodes.write_lesions(nodes, found)
        return list(found)

    # Views

    show_mask = staticmethod(layers.show_mask)
    show_heatmap = staticmethod(layers.show_heatmap)
    show_legend = staticmethod(layers.show_legend)
    set_heatmap_range = staticmethod(layers.set_heatmap_range)
    set_heatmap_threshold = staticmethod(layers.set_heatmap_threshold)
    heatmap_range = staticmethod(layers.heatmap_range)
    curve_text = staticmethod(curves.curve_text)

    def threshold_heatmap(self, nodes: ResultNodes, threshold: float) -> float:
        """Writes the voxels whose score is above a threshold into the anomaly; returns their ml. Raises `UserError`."""
        need_input(nodes)
        if nodes.heatmap is None:
            raise UserError(_("There is no heatmap yet; run Segment first."))
        found = self._write_edited(nodes, (volumes.voxels_of(nodes.heatmap) > threshold).view(np.uint8))
        return sum(lesion.volume_ml for lesion in found)

    @property
    def comparing(self) -> bool:
        """Whether the comparison is shown."""
        return self._layouts.comparing

    def compare(self, nodes: ResultNodes) -> bool:
        """Original, reconstruction and error side by side; False where there is nothing to compare or no layout."""
        return self._layouts.compare(nodes)

    def leave_compare(self) -> None:
        """The user's layout comes back."""
        self._layouts.leave()

    # Lesions

    lesions = staticmethod(lesion_nodes.lesions_of)
    accepted_lesions = staticmethod(lesion_nodes.accepted_of)
    accept_lesions = staticmethod(lesion_nodes.accept)
    jump_to_lesion = staticmethod(lesion_nodes.jump_to)
    save_lesions = staticmethod(saving.save_lesions)

    def measure_lesions(self, nodes: ResultNodes) -> list[Lesion]:
        """Measures the lesions of the anomaly as it is now. Raises `UserError`."""
        found = lesion_nodes.measure(nodes) if nodes.segment_id else ()
        if nodes.segment_id:
            lesion_nodes.write_lesions(nodes, found)
        return list(found)

    def reject_lesions(self, nodes: ResultNodes, numbers: Sequence[int]) -> list[Lesion]:
        """Takes lesions out of the anomaly; returns those that are left, with new numbers. Raises `UserError`."""
        return self._write_edited(nodes, *lesion_nodes.without(nodes, numbers))

    # Files

    def save(
        self, nodes: ResultNodes, folder: str | Path, what: Collection[str] = _USUAL_FILES, **callbacks: Any
    ) -> None:
        """Writes files, of `SAVEABLE`, into a folder; `on_done` hears their paths. Raises `UserError`."""
        self._controller.refuse_while_busy()
        files = saving.Saving(nodes, Path(folder), what, callbacks.get("on_progress", lambda progress: None))
        self._begin(files.conversation(), callbacks, hear=files.hear)

    def find_series(self, input_folder: str | Path, **callbacks: Any) -> None:
        """Looks for cases of a batch whose folder holds several DICOM series.

        `on_done` hears, by the name of the case, a file of each series and words to choose it by. Raises `UserError`.
        """
        self._begin(
            conversations.once(Ask("series", {"input": str(input_folder)}), lambda m: m.fields["cases"]), callbacks
        )

    def start_batch(
        self,
        input_folder: str | Path,
        output_folder: str | Path,
        request: Request = DEFAULT_REQUEST,
        skip_existing: bool = True,
        *,
        series: Mapping[str, str] | None = None,
        on_case: Callable[[BatchCase], None] = lambda case: None,
        **callbacks: Any,
    ) -> None:
        """Segments every volume of a folder into another one, with a summary; `cancel` stops it.

        `on_case` hears every change of a case, `on_done` a `BatchSummary`. Raises `UserError`.

        Args:
            series: of cases whose folder holds several DICOM series, by name, a file of the one that is meant.
        """
        request.check()
        fields = {"input": str(input_folder), "output": str(output_folder), "skip_existing": skip_existing}
        ask = Ask("batch", {**fields, "series": dict(series or {}), "request": asdict(request)})
        listener = Listener(**callbacks)
        batch = conversations.BatchListener(listener, on_case)
        self._controller.begin(Job(conversations.once(ask, batch.finish), listener, batch.hear))
