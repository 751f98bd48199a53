"""Saves a result: through Slicer what only Slicer can write, small tables here, the rest by the engine's one writer."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import slicer
import slicer.util

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import reason, whole_file
from IterMask3DLib.core.result import ANOMALY, HEATMAP, RECONSTRUCTION
from IterMask3DLib.core.tables import write_iterations, write_lesions
from IterMask3DLib.core.wire import Message
from IterMask3DLib.scene.nodes.lesions import measure
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes, need_input
from IterMask3DLib.scene.nodes.segmentations import read_segment
from IterMask3DLib.scene.nodes.volumes import voxels_of
from IterMask3DLib.scene.records import SAVEABLE, RunProgress
from IterMask3DLib.scene.run.bundle import write_bundle
from IterMask3DLib.scene.run.controller import Ask, Conversation, Portion
from IterMask3DLib.scene.run.conversations import images_of
from IterMask3DLib.scene.translation import tr as _

_LAYERS = (ANOMALY, HEATMAP, RECONSTRUCTION)
_BRAIN = "brain"


class Saving:
    """Files of a result on their way into a folder. What is there already of the same name is replaced, whole.

    Raises `UserError` where nothing of what was chosen is there to be saved.
    """

    def __init__(
        self, nodes: ResultNodes, folder: Path, what: Collection[str], tell: Callable[[RunProgress], None]
    ) -> None:
        need_input(nodes)
        self._nodes, self._folder, self._case, self._tell = nodes, folder, case_name(nodes), tell
        self._written: list[Path] = []
        unknown = set(what) - set(SAVEABLE)
        if unknown:
            raise UserError(
                _(
                    "{name} is nothing that can be saved; choose of {known}.",
                    name=", ".join(sorted(unknown)),
                    known=", ".join(SAVEABLE),
                )
            )
        if not what:
            raise UserError(_("Nothing was chosen; choose what is to be saved."))
        there = {"scene", *(["segmentation", ANOMALY, "lesions"] if nodes.segment_id else [])}
        there |= {name for name in (HEATMAP, RECONSTRUCTION) if nodes.layer(name) is not None}
        there |= {"iterations"} if nodes.steps else set()
        there |= {"report"} if nodes.outcome else set()
        self._what = there & set(what)
        if not self._what:
            raise UserError(_("There is nothing yet of what was chosen; run Segment first."))

    def conversation(self) -> Conversation:
        """Returns the files that were written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _refused(self._folder, error) from None
        self._tell(RunProgress("save", _("Saving")))
        for portion in self._here():
            portion()
            yield None
        asked = self._asked()
        if asked is not None:
            self._tell(RunProgress("save", _("Writing the report and the volumes"), 0.3))
            yield asked
        if "scene" in self._what:
            yield from self._scene()
        return sorted(self._written)

    def _scene(self) -> Iterator[None]:
        path = self._folder / self._name("scene.mrb")
        try:
            for share in write_bundle(path):
                self._tell(RunProgress("save", _("Writing the scene"), share))
                yield None
        except OSError as error:
            raise _refused(path, error) from None
        except UserError:
            # A node of a kind that this writer does not know: Slicer's own knows them all, and is busy meanwhile.
            self._tell(RunProgress("save", _("Writing the scene; Slicer is busy until it is written"), 0.7))
            yield None
            self._checked("scene.mrb", lambda path: slicer.util.saveScene(path, {}))
            return
        self._written.append(path)

    def hear(self, message: Message) -> Iterator[Portion]:
        """Puts a file of the engine in its place."""
        if message.kind == "file":
            data = message.arrays["bytes"]
            yield partial(self._put, str(message.fields["name"]), lambda path: path.write_bytes(data.data))

    def _here(self) -> Iterator[Portion]:
        """What needs no engine."""
        nodes = self._nodes
        if "segmentation" in self._what:
            yield lambda: self._checked(
                "anomaly.seg.nrrd", lambda path: slicer.util.exportNode(nodes.segmentation, path, {})
            )
        if "lesions" in self._what:
            yield lambda: self._put(self._name("lesions.csv"), lambda path: write_lesions(path, measure(nodes)))
        if "iterations" in self._what:
            steps = [(step.number, step.phase, step.seconds, step.scalars) for step in nodes.steps]
            yield lambda: self._put(
                self._name("iterations.csv"), lambda path: write_iterations(path, steps, nodes.brain_ml)
            )

    def _asked(self) -> Ask | None:
        """What the engine writes."""
        nodes, outcome = self._nodes, self._nodes.outcome
        what = [name for name in (*_LAYERS, "report") if name in self._what]
        if "iterations" in self._what and outcome:
            what.append("artifacts")
        if not what:
            return None
        volumes = {name: nodes.layer(name) for name in outcome["layers"] if name != ANOMALY}
        volumes[_BRAIN] = nodes.brain
        if None in volumes.values():
            raise UserError(
                _(
                    "A volume of the result of {case} is no longer in the scene; run Segment again.",
                    case=nodes.input.GetName(),
                )
            )
        fields, arrays = images_of(nodes.channels)
        arrays |= {name: voxels_of(node) for name, node in volumes.items()}
        layers = {name: about for name, about in outcome["layers"].items() if name in volumes}
        if nodes.segment_id:
            layers[ANOMALY] = {"kind": "mask", "unit": ""}
            arrays[ANOMALY] = read_segment(nodes)
        result = {**outcome, "layers": layers, "artifacts": nodes.artifacts}
        return Ask("write", {**fields, "case": self._case, "result": result, "what": what}, arrays)

    def _put(self, name: str, write: Callable[[Path], Any]) -> None:
        path = self._folder / Path(name).name
        try:
            with whole_file(path) as part:
                write(part)
        except OSError as error:
            raise _refused(path, error) from None
        self._written.append(path)

    def _checked(self, ending: str, write: Callable[[str], bool]) -> None:
        # Slicer's functions return False where others raise.
        path = self._folder / self._name(ending)
        if not write(str(path)):
            raise UserError(_("{path} could not be written; choose another folder.", path=path))
        self._written.append(path)

    def _name(self, ending: str) -> str:
        return f"{self._case}_{ending}"


def case_name(nodes: ResultNodes) -> str:
    """The name of the input, safe as a file name."""
    return re.sub(r"[^\w.+-]+", "_", nodes.input.GetName()).strip("._") or "case"


def save_lesions(nodes: ResultNodes, path: str | Path) -> Path:
    """Writes the lesions of the anomaly as it is now as CSV. Raises `UserError`."""
    found, path = measure(nodes), Path(path)
    try:
        write_lesions(path, found)
    except OSError as error:
        raise _refused(path, error) from None
    return path


def _refused(path: Path, error: OSError) -> UserError:
    return UserError(_("{path} cannot be written ({why}); choose another place.", path=path, why=reason(error)))
