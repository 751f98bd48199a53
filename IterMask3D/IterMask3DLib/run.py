"""One case from its images to its result: prepare, infer, restore. Every door goes through this one sequence."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

from IterMask3DLib.core.card import SEED_AGREEMENT
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import BoolVolume, Case
from IterMask3DLib.core.request import Edit, Request
from IterMask3DLib.core.result import MASK, CaseResult, Layer, LayerKind, Result, Step, Steps
from IterMask3DLib.core.settings import changed
from IterMask3DLib.core.versions import versions
from IterMask3DLib.methods.base import Method, MethodSpec, Resumable
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.prepare import Prepared, prepare
from IterMask3DLib.runtime.runner import Runtime


class Cancelled(Exception):
    """The run was stopped before there was a result."""


@dataclass(frozen=True)
class Phase:
    """What is being done now: a name for programs and a phrase for people."""

    name: str
    text: str


Event = Phase | Step
Events = Generator[Event, bool | None, CaseResult]
"""What a run says, in order. Sending True back after a step ends the run with what that step found."""


@dataclass
class CaseRun:
    """A case prepared for a model: what `infer` and `resume` work on, and what restores their results.

    Attributes:
        model, request, case: as given.
        prepared: the case on the model's grid; settings: of the method; runtime: where its networks run.
    """

    model: Model
    request: Request
    prepared: Prepared
    settings: Any
    runtime: Runtime
    spec: MethodSpec
    method: Method
    _begun: float = field(default_factory=time.perf_counter)
    _started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @classmethod
    def of(cls, case: Case, model: Model, request: Request) -> CaseRun:
        """Raises `UserError` for a request, a case or a device that cannot be used."""
        begun, started = time.perf_counter(), datetime.now(timezone.utc)
        request.check()
        spec = find_method(model.card.method)
        settings = spec.settings(model.card, request)
        runtime = Runtime.of(request)
        prepared = prepare(case, model.card, request.skull_stripping)
        return cls(model, request, prepared, settings, runtime, spec, spec.load(), begun, started)

    def infer(self) -> Events:
        """The method from its beginning."""
        yield Phase("infer", f"running {self.spec.title}")
        steps = self.method.infer(self.prepared, self.model, self.settings, self.runtime)
        return (yield from self._to_the_end(steps))

    def resume(self, state: Any, edit: Edit, changes: Mapping[str, Any] | None = None) -> Events:
        """The method from an edit on.

        Args:
            state: of an earlier result.
            edit: what the user wants otherwise.
            changes: settings that are other than those of the request, e.g. the start mask.

        Raises:
            UserError: if the method cannot go on from a run.
        """
        if not isinstance(self.method, Resumable):
            raise UserError(f"{self.spec.title} cannot go on from a run that was made; run it again.")
        self._begun, self._started = time.perf_counter(), datetime.now(timezone.utc)
        settings = changed(self.settings, changes or {}, "settings")
        yield Phase("infer", f"running {self.spec.title}")
        steps = self.method.resume(self.prepared, self.model, settings, self.runtime, state, edit)
        return (yield from self._to_the_end(steps, settings))

    def _to_the_end(self, steps: Steps, settings: Any = None) -> Events:
        kept: list[Step] = []
        try:
            while True:
                step = next(steps)
                if self.request.save_iterations and MASK in step.layers:
                    # Only the mask is kept: what a step's functions give is gone with the next one.
                    measured = with_mask(step, self.prepared.brain)
                    kept.append(replace(measured, layers={MASK: measured.layers[MASK]}, stop=None))
                if (yield step):
                    if step.stop is None:
                        raise Cancelled
                    result = step.stop()
                    break
        except StopIteration as end:
            result = end.value
        finally:
            steps.close()
        yield Phase("restore", "returning to the grid of the input")
        return self._restored(result, settings or self.settings, kept)

    def _restored(self, result: Result, settings: Any, kept: list[Step]) -> CaseResult:
        prepared, brain = self.prepared, self.prepared.brain_mask
        iterations = [replace(s, layers={MASK: replace(s.layers[MASK], values=_restoring(prepared, s))}) for s in kept]
        restored = {
            **vars(result),
            "layers": {name: _restored_layer(prepared, layer) for name, layer in result.layers.items()},
            "warnings": prepared.warnings + result.warnings + tuple(self.runtime.notices),
        }
        return CaseResult(
            **restored,
            case=prepared.case,
            brain=brain.array,
            brain_source=brain.description,
            brain_ml=brain.millilitres,
            provenance=self._provenance(settings),
            iterations=tuple(iterations),
        )

    def _provenance(self, settings: Any) -> dict[str, Any]:
        """What made a result, JSON-able."""
        card, request = self.model.card, self.request
        return {
            "method": card.method,
            "citation": self.spec.citation,
            "model": card.name,
            "model_sha256": dict(card.files),
            "settings": asdict(settings),
            "request": {name: value for name, value in asdict(request).items() if name != "model"},
            "seed": request.seed,
            "seed_agreement": next(
                (f"{each.value} ({each.on})" for each in card.figures if each.name == SEED_AGREEMENT), ""
            ),
            "device": str(self.runtime.device),
            "backend": self.runtime.backend,
            "versions": versions(),
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._begun, 2),
            "attribution": card.training.get("attribution", ""),
        }


def with_mask(step: Step, brain: BoolVolume) -> Step:
    """The step with its mask read and the share of the brain that it hides among its numbers; as it is without one."""
    if MASK not in step.layers:
        return step
    mask = step.layers[MASK].read()
    scalars = dict(step.scalars)
    scalars.setdefault("masked_fraction", np.count_nonzero(mask) / np.count_nonzero(brain))
    return replace(step, scalars=scalars, layers={**step.layers, MASK: Layer.mask(mask)})


def _restored_layer(prepared: Prepared, layer: Layer) -> Layer:
    """A layer on the grid of the reference; of intensities a function: they are read once, when little else is kept."""
    if layer.kind is not LayerKind.INTENSITY:
        return prepared.restore(layer)
    given = replace(layer, values=layer.read())
    return replace(layer, values=lambda: prepared.restore(given).read())


def _restoring(prepared: Prepared, step: Step) -> Callable[[], Any]:
    """Restores the mask of a step when it is asked for: all of them at once would not fit into memory."""
    return lambda: prepared.restore(step.layers[MASK]).read()


def run_case(case: Case, model: Model, request: Request) -> Events:
    """The whole run of a case. Raises `UserError`."""
    yield Phase("prepare", "preparing the volume")
    run = CaseRun.of(case, model, request)
    return (yield from run.infer())


def finish(events: Events, on_event: Callable[[Event], bool | None] = lambda event: None) -> CaseResult:
    """Drives a run to its end. `on_event` hears everything; where it gives True, the run ends with that step.

    Raises `UserError`, and `Cancelled` where there was nothing to end with.
    """
    answer: bool | None = None
    try:
        while True:
            answer = on_event(events.send(answer))
    except StopIteration as end:
        result: CaseResult = end.value
        return result
    finally:
        events.close()
