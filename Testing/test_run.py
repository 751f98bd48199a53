"""One case from its images to its result: what a run says in which order, and how it is ended and gone on from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from IterMask3DLib.core.artifacts import MaskHistory, ThresholdCurve
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import GridTransform
from IterMask3DLib.core.image import Case, Image, PackedMask
from IterMask3DLib.core.request import ByGamma, ByPoint, FromMask, Request
from IterMask3DLib.core.result import ANOMALY, ERROR_MAP, HEATMAP, MASK, RECONSTRUCTION, CaseResult, LayerKind, Step
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.store import Model
from IterMask3DLib.run import Cancelled, CaseRun, Event, Phase, finish, run_case
from Testing.brains import phantom_image, toy_model

CASE = Case.of(phantom_image())
REQUEST = Request(device="cpu", backend="pytorch", seed=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(toy_model(tmp_path_factory.mktemp("models") / "toy"))


@pytest.fixture(scope="module")
def whole(model: Model) -> tuple[CaseRun, CaseResult]:
    """A run whose case is still prepared, and its result."""
    run = CaseRun.of(CASE, model, REQUEST)
    return run, finish(run.infer())


def segmented(model: Model, request: Request = REQUEST, case: Case = CASE) -> CaseResult:
    return finish(run_case(case, model, request))


def same(one: CaseResult, other: CaseResult) -> None:
    """Both runs found the same, voxel by voxel."""
    assert list(one.layers) == list(other.layers)
    for name in one.layers:
        np.testing.assert_array_equal(one.array(name), other.array(name), err_msg=name)
    assert one.scalars == other.scalars and one.artifact(MaskHistory) == other.artifact(MaskHistory)


def test_a_run_says_what_it_does_in_order_and_makes_a_step_of_every_pass(model: Model) -> None:
    events: list[Event] = []
    finish(run_case(CASE, model, REQUEST), events.append)
    phases = [event for event in events if isinstance(event, Phase)]
    steps = [event for event in events if isinstance(event, Step)]
    assert [phase.name for phase in phases] == ["prepare", "infer", "restore"] and all(phase.text for phase in phases)
    assert events == [*phases[:2], *steps, phases[2]]
    assert [step.number for step in steps] == list(range(1, len(steps) + 1)) and steps[11].phase == "sweep"
    assert set(steps[0].layers) == {MASK, ERROR_MAP, RECONSTRUCTION}


def test_the_result_lies_on_the_grid_of_the_input(whole: tuple[CaseRun, CaseResult]) -> None:
    _, result = whole
    shape = phantom_image().array.shape
    kinds = {ANOMALY: LayerKind.MASK, HEATMAP: LayerKind.SCORE, RECONSTRUCTION: LayerKind.INTENSITY}
    assert {name: layer.kind for name, layer in result.layers.items()} == kinds
    assert all(result.array(name).shape == shape for name in kinds)
    assert result.array(ANOMALY).dtype == bool and not result.array(ANOMALY)[~result.brain].any()
    np.testing.assert_array_equal(result.brain, phantom_image().array > 0)
    assert result.brain_ml == pytest.approx(result.brain.sum() * 0.064) and "stripped" in result.brain_source
    curve = result.artifact(ThresholdCurve)
    np.testing.assert_array_equal(result.array(ANOMALY), (result.array(HEATMAP) > curve.threshold) & result.brain)
    assert (
        result.case_score == result.scalars["mean_error"] == pytest.approx(result.array(HEATMAP)[result.brain].mean())
    )
    assert result.array("unheard of") is None and result.iterations == ()


def test_the_same_seed_gives_the_same_result_and_another_seed_another(
    model: Model, whole: tuple[CaseRun, CaseResult]
) -> None:
    _, result = whole
    same(segmented(model), result)
    other = segmented(model, replace(REQUEST, seed=4))
    assert np.abs(other.array(HEATMAP) - result.array(HEATMAP)).max() > 0


def test_a_result_says_in_json_what_made_it(model: Model) -> None:
    request = replace(REQUEST, model="somewhere", settings={"gamma": 0.3})
    record = json.loads(json.dumps(segmented(model, request).provenance))
    assert record["method"] == "itermask3d" and record["model"] == "toy" and record["model_sha256"] == model.card.files
    assert record["settings"]["gamma"] == 0.3 and record["settings"]["sweep_passes"] == 12
    assert record["request"]["settings"] == {"gamma": 0.3} and "model" not in record["request"]
    assert (record["seed"], record["device"], record["backend"]) == (3, "cpu in single precision", "pytorch")
    assert record["versions"]["torch"] and record["versions"]["itermask3d"]
    assert record["started"].endswith("+00:00") and record["seconds"] > 0 and "103763" in record["citation"]


# Ended early


def stop_in(phase: str) -> Any:
    """Ends a run with the first step of a phase."""
    return lambda event: isinstance(event, Step) and event.phase == phase


def test_a_run_that_is_stopped_has_the_result_of_its_last_step(model: Model) -> None:
    steps: list[Step] = []

    def hear(event: Event) -> bool:
        if isinstance(event, Step):
            steps.append(event)
        return stop_in("shrink")(event)

    result = finish(run_case(CASE, model, REQUEST), hear)
    assert len(steps) == 13 and result.artifact(MaskHistory).sizes == (int(steps[-1].layers[MASK].read().sum()),)
    assert result.scalars["mask_size"] == steps[-1].layers[MASK].read().sum()
    assert "cancelled" in result.warnings[-1]


def test_a_run_that_is_stopped_before_there_is_a_result_has_none(model: Model) -> None:
    with pytest.raises(Cancelled):
        finish(run_case(CASE, model, REQUEST), stop_in("sweep"))


def test_an_error_in_whoever_listens_ends_the_run(model: Model) -> None:
    heard: list[Event] = []

    def hear(event: Event) -> None:
        heard.append(event)
        if len(heard) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finish(run_case(CASE, model, REQUEST), hear)
    assert len(heard) == 4


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(seed=-1), "seed is -1"),
        (Request(settings={"gamma": 0}), "settings: gamma is 0"),
        (Request(settings={"magic": 1}), "magic is not a setting"),
    ],
)
def test_an_impossible_request_is_refused_before_the_images_are_touched(
    request_: Request, words: str, model: Model
) -> None:
    untouchable = Case.of(Image(np.zeros((0, 0, 0)), np.eye(4), "empty"))
    with pytest.raises(UserError, match=words):
        finish(run_case(untouchable, model, request_))


# Iterations


def test_every_iteration_is_kept_where_it_is_asked_for_and_restored_when_it_is_read(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored, to_input = [], GridTransform.mask_to_input

    def counted(self: GridTransform, mask: np.ndarray) -> np.ndarray:
        restored.append(1)
        return to_input(self, mask)

    monkeypatch.setattr(GridTransform, "mask_to_input", counted)
    steps: list[Step] = []
    request = replace(REQUEST, save_iterations=True)
    result = finish(
        run_case(CASE, model, request), lambda event: steps.append(event) if isinstance(event, Step) else None
    )
    assert len(restored) == 1
    assert [(i.number, i.phase, i.scalars) for i in result.iterations] == [
        (s.number, s.phase, s.scalars) for s in steps
    ]
    first, last = (result.iterations[i].layers[MASK] for i in (0, -1))
    np.testing.assert_array_equal(last.read(), result.array(ANOMALY))
    assert first.read().shape == last.read().shape and len(restored) == 4


# Gone on from


def test_another_gamma_gives_what_a_fresh_run_with_it_gives(model: Model, whole: tuple[CaseRun, CaseResult]) -> None:
    run, result = whole
    steps: list[Step] = []
    again = finish(
        run.resume(result.state, ByGamma(0.4)), lambda event: steps.append(event) if isinstance(event, Step) else None
    )
    fresh = segmented(model, replace(REQUEST, settings={"gamma": 0.4}))
    same(again, fresh)
    assert again.artifact(ThresholdCurve).chosen == fresh.artifact(ThresholdCurve).chosen
    assert {step.phase for step in steps} == {"shrink"} and steps[0].number == 13
    # The state of a result that was gone on from is that of the whole run, so it can be gone on from again.
    same(finish(run.resume(again.state, ByGamma())), result)


def test_another_start_mask_gives_what_a_fresh_run_with_it_gives(
    model: Model, whole: tuple[CaseRun, CaseResult]
) -> None:
    run, result = whole
    again = finish(run.resume(result.state, ByGamma(), {"start": "best"}))
    same(again, segmented(model, replace(REQUEST, settings={"start": "best"})))
    assert again.provenance["settings"]["start"] == "best" and result.provenance["settings"]["start"] == "brain"
    with pytest.raises(UserError, match="start is 'middle'"):
        finish(run.resume(result.state, ByGamma(), {"start": "middle"}))


def test_a_point_of_the_curve_can_be_chosen(whole: tuple[CaseRun, CaseResult]) -> None:
    run, result = whole
    curve = finish(run.resume(result.state, ByPoint(7))).artifact(ThresholdCurve)
    assert curve.by_hand and curve.chosen == 7 and curve.threshold == curve.thresholds[7]


def test_a_run_goes_on_from_a_mask_that_a_person_drew(whole: tuple[CaseRun, CaseResult]) -> None:
    run, result = whole
    drawn = np.zeros(run.prepared.brain.shape, dtype=bool)
    drawn[:24] = True
    steps: list[Step] = []
    edit = FromMask(PackedMask.of(drawn), ByGamma(), passes_before=5)
    again = finish(
        run.resume(result.state, edit), lambda event: steps.append(event) if isinstance(event, Step) else None
    )
    # Twelve passes of the sweep and five before.
    assert steps[0].number == 18
    masked = steps[0].layers[MASK].read().sum() / (1 - steps[0].scalars["unmasked_fraction"])
    assert masked == pytest.approx((drawn & run.prepared.brain).sum())
    assert again.artifact(ThresholdCurve).threshold == result.artifact(ThresholdCurve).threshold


def test_the_state_of_a_run_comes_back_from_its_curve_and_the_masks_of_its_steps(
    model: Model, whole: tuple[CaseRun, CaseResult]
) -> None:
    masks: list[PackedMask] = []

    def keep(event: Event) -> None:
        if isinstance(event, Step):
            masks.append(PackedMask.of(event.layers[MASK].read()))

    run, result = whole
    finish(run.infer(), keep)
    state = run.method.recall(result.artifact(ThresholdCurve), masks)
    for edit in (ByGamma(0.4), ByPoint(3)):
        for changes in ({}, {"start": "best"}):
            same(finish(run.resume(state, edit, changes)), finish(run.resume(result.state, edit, changes)))


def test_a_method_that_cannot_go_on_says_so(model: Model) -> None:
    run = CaseRun.of(CASE, model, REQUEST)
    run.method = object()
    with pytest.raises(UserError, match="IterMask3D cannot go on from a run"):
        finish(run.resume(None, ByGamma()))


def test_a_brain_mask_that_is_given_bounds_everything(model: Model, tmp_path: Path) -> None:
    image = phantom_image()
    half = Image((image.array > 0) & (np.arange(40) > 19)[:, None, None], image.affine, "half", "half.nii.gz")
    result = segmented(model, case=Case.of(image, half))
    np.testing.assert_array_equal(result.brain, half.array)
    assert "half.nii.gz" in result.brain_source
    for name in result.layers:
        assert not result.array(name)[~half.array].any()
