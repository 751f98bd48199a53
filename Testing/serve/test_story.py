"""A run in the engine's process, and everything a door asks of it, are what they are in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from IterMask3DLib.core.artifacts import ThresholdCurve
from IterMask3DLib.core.image import Case, Image, PackedMask
from IterMask3DLib.core.request import ByGamma, ByPoint, BySettings, FromMask, Request
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.models.catalogue import DEFAULT_MODEL
from IterMask3DLib.run import CaseRun, finish
from IterMask3DLib.serve.records import StepLayers
from Testing.methods.test_whole_brain import scored_model
from Testing.serve.conftest import InProcess, same_result
from Testing.serve.door import Asked, Door, case_fields, command, opened


def test_the_panel_is_drawn_from_a_description(door: Door, toy: Path) -> None:
    told = door.ask("describe", {"model": str(toy)}).the("description").fields
    assert told["missing"] == [] and set(told["faster"]) <= {"openvino"}
    assert told["default_model"] == told["models"][0]["name"] == DEFAULT_MODEL
    mine = told["models"][-1]
    assert (mine["name"], mine["origin"], mine["inputs"], mine["spacing"]) == ("toy", "path", ["T1w"], 4.0)
    assert mine["settings"]["sweep_passes"] == 12 and mine["problem"] is None
    method = told["methods"][mine["method"]]
    assert method["title"] == find_method("itermask3d").title and "threshold_curve" in method["capabilities"]
    gamma = next(each for each in method["settings"] if each["name"] == "gamma")
    assert gamma["least"] == 1e-9 and gamma["default"] == 0.05 and gamma["unit"] and gamma["advanced"]
    assert "SimpleITK" in told["diagnostics"] and DEFAULT_MODEL in told["diagnostics"]


def test_a_model_that_cannot_be_used_says_why(door: Door, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{}", encoding="utf-8")
    model = door.ask("describe", {"model": str(tmp_path)}).the("description").fields["models"][-1]
    assert str(tmp_path) in model["problem"]


def test_the_diagnosis_names_the_devices(door: Door) -> None:
    assert "CPU threads" in door.ask("diagnose").the("diagnosis").fields["text"]


def test_preparing_tells_where_the_model_grid_lies(door: Door, brain: Image, toy: Path, here: InProcess) -> None:
    told = door.prepare(brain, toy).the("prepared").fields
    assert np.array_equal(told["affine"], here.run.prepared.affine)
    assert told["shape"] == list(here.run.prepared.brain.shape)
    assert told["brain_ml"] == here.result.brain_ml
    assert told["method"] == "itermask3d"
    assert door.client.has_case("one") and not door.client.has_state("one") and not door.client.has_case("two")


def test_a_run_is_the_same_as_in_this_process(whole_run: Asked, here: InProcess) -> None:
    expected = same_result(whole_run, here.run.infer())
    told = whole_run.the("result").fields
    assert told["brain_source"] == expected.brain_source and told["brain_ml"] == expected.brain_ml
    assert told["case_score"] == expected.case_score and told["slice_scores"] is None
    assert told["provenance"]["model_sha256"] == expected.provenance["model_sha256"]
    assert told["peak"]["heatmap"] == expected.array("heatmap").max()
    assert whole_run.ended.fields["cancelled"] is False
    assert told["resumable"]


def test_steps_come_one_by_one_with_what_they_found(whole_run: Asked, here: InProcess) -> None:
    steps = whole_run.all("step")
    assert [step.fields["number"] for step in steps] == list(range(1, len(here.masks) + 1))
    assert all(np.array_equal(step.arrays["mask"].T, mask) for step, mask in zip(steps, here.masks, strict=True))
    elapsed = [step.fields["elapsed"] for step in steps]
    assert elapsed == sorted(elapsed)
    assert {step.fields["phase"] for step in steps} == {"sweep", "shrink"}
    assert [s.fields["resumable"] for s in steps] == [s.fields["phase"] == "shrink" for s in steps]


def test_volumes_of_steps_are_as_compact_as_one_can_see(whole_run: Asked, here: InProcess) -> None:
    expected = next(step for step in here.run.infer() if hasattr(step, "layers"))
    step = whole_run.all("step")[0]
    assert step.fields["layers"] == {"mask": "mask", "error_map": "score", "reconstruction": "intensity"}
    error = step.arrays["error_map"].T
    assert np.allclose(error, expected.layers["error_map"].read(), rtol=2**-11, atol=0)
    assert not (error.view(np.uint32) & 0x1FFF).any()
    assert step.arrays["reconstruction"].dtype == np.int16
    wanted = here.run.prepared.unscaled(expected.layers["reconstruction"].read())
    assert np.abs(step.arrays["reconstruction"].T - wanted).max() <= 0.5
    assert all(array.flags.c_contiguous for array in step.arrays.values())


def test_the_curve_comes_before_the_first_step_it_decides(whole_run: Asked) -> None:
    said = list(enumerate(whole_run.messages))
    curve = next(at for at, m in said if m.kind == "artifact" and m.fields["kind"] == "curve")
    first = next(at for at, m in said if m.kind == "step" and m.fields["phase"] == "shrink")
    assert curve < first
    told = whole_run.messages[curve].fields["record"]
    assert told == whole_run.the("result").fields["artifacts"][0]["record"]


def test_error_maps_and_reconstructions_keep_to_the_memory_they_may_take(
    here: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = 48**3 * (4 + 2)
    monkeypatch.setattr("IterMask3DLib.serve.records.SERIES_BYTES", 6 * one)
    layers = StepLayers(here.run.prepared)
    sent = [(step, layers.of(step)[1]) for step in here.run.infer() if hasattr(step, "layers")]
    whole = [step for step, arrays in sent if len(arrays) == 3]
    assert all("mask" in arrays for _, arrays in sent)
    assert 0 < len([step for step in whole if step.phase == "sweep"]) <= 6
    assert [step for step in whole if step.phase == "shrink"] == [step for step, _ in sent if step.phase == "shrink"]


def test_lesions_are_measured_by_the_engine(whole_run: Asked, here: InProcess) -> None:
    told = whole_run.the("result").fields["lesions"]
    anomaly = here.result.array("anomaly")
    assert sum(lesion["voxels"] for lesion in told) == anomaly.sum()
    assert [lesion["number"] for lesion in told] == list(range(1, len(told) + 1))
    assert sum(lesion["volume_ml"] for lesion in told) == pytest.approx(anomaly.sum() * 0.064)


@pytest.mark.parametrize(
    ("edit", "by"),
    [
        ({"by": "gamma", "gamma": 0.4}, ByGamma(0.4)),
        ({"by": "gamma", "gamma": None}, ByGamma()),
        ({"by": "point", "point": 7}, ByPoint(7)),
    ],
)
def test_another_threshold_costs_the_shrink_phase_alone(
    segmented: Door, here: InProcess, edit: dict[str, Any], by: ByGamma | ByPoint
) -> None:
    asked = segmented.ask("resume", {"key": "one", "edit": edit, "settings": {}})
    assert {step.fields["phase"] for step in asked.all("step")} == {"shrink"}
    same_result(asked, here.run.resume(here.result.state, by))


def test_another_start_mask_is_a_setting(segmented: Door, here: InProcess) -> None:
    asked = segmented.ask("resume", {"key": "one", "edit": {"by": "point", "point": 7}, "settings": {"start": "best"}})
    expected = same_result(asked, here.run.resume(here.result.state, ByPoint(7), {"start": "best"}))
    settings = json.loads(json.dumps(expected.provenance["settings"]))
    assert asked.the("result").fields["provenance"]["settings"] == settings | {"visited": None}


def test_another_sensitivity_costs_no_pass(tmp_path: Path, brain: Image) -> None:
    folder = scored_model(tmp_path / "scored")
    request = Request(model=str(folder), device="cpu", backend="pytorch")
    run = CaseRun.of(Case(brain.name, {"T1w": brain}), load_model(folder), request)
    state = finish(run.infer()).state
    with opened(command()) as door:
        assert door.prepare(brain, folder).ended.kind == "prepared"
        first = door.ask("infer", {"key": "one"})
        assert first.the("result").fields["resumable"] and len(first.all("step")) == 2
        asked = door.ask("resume", {"key": "one", "edit": {"by": "settings"}, "settings": {"sensitivity": 2}})
    assert asked.all("step") == []
    same_result(asked, run.resume(state, BySettings(), {"sensitivity": 2}))


def test_a_run_goes_on_from_an_edited_mask(segmented: Door, here: InProcess) -> None:
    mask = here.masks[-1].copy()
    mask[10:20, 5:30, 8:25] ^= True
    edit = {"by": "mask", "choice": {"by": "point", "point": 5}, "passes_before": 2}
    asked = segmented.ask("resume", {"key": "one", "edit": edit}, mask=np.ascontiguousarray(mask.T.astype(np.uint8)))
    same_result(asked, here.run.resume(here.result.state, FromMask(PackedMask.of(mask), ByPoint(5), 2)))


def test_a_run_is_recalled_by_an_engine_that_was_started_again(
    brain: Image, toy: Path, here: InProcess, segmented: Door
) -> None:
    result = here.result
    curve = result.artifact(ThresholdCurve).to_record()
    rows = np.stack([np.packbits(mask.T) for mask in here.masks[:12]])
    with opened(command()) as again:
        fields = case_fields(brain, "one", toy) | {"brain_mask": True, "brain_source": "as it was told before"}
        image, mask = np.ascontiguousarray(brain.array.T), np.ascontiguousarray(result.brain.T).view(np.uint8)
        prepared = again.ask("prepare", fields, image__T1w=image, brain_mask=mask).the("prepared").fields
        kept = {"key": "one", "curve": curve, "affine": prepared["affine"], "shape": prepared["shape"][::-1]}
        assert again.ask("recall", kept, masks=rows).ended.kind == "recalled"
        assert again.client.has_state("one")
        edit = {"by": "point", "point": 7}
        asked = again.ask("resume", {"key": "one", "edit": edit})
        same_result(asked, here.run.resume(result.state, ByPoint(7)))
        assert asked.the("result").fields["brain_source"] == "as it was told before"


def test_what_does_not_belong_to_the_case_is_not_recalled(prepared: Door, here: InProcess) -> None:
    curve = here.result.artifact(ThresholdCurve).to_record()
    rows = np.stack([np.packbits(mask.T) for mask in here.masks[:12]])
    right = {"key": "one", "curve": curve, "affine": here.run.prepared.affine, "shape": here.run.prepared.brain.shape}
    moved = here.run.prepared.affine + np.eye(4)[:, [3, 3, 3, 0]]
    assert "has changed since" in prepared.ask("recall", right | {"affine": moved}, masks=rows).sentence
    assert "has changed since" in prepared.ask("recall", right | {"shape": [4, 4, 4]}, masks=rows).sentence
    assert "cannot be read" in prepared.ask("recall", right | {"curve": {}}, masks=rows).sentence
    assert "cannot be read" in prepared.ask("recall", right | {"curve": None}, masks=rows).sentence
    assert "not those of its curve" in prepared.ask("recall", right, masks=rows[:5]).sentence
    assert "not those of its curve" in prepared.ask("recall", right, masks=rows[:, :-1]).sentence
    assert "not those of its curve" in prepared.ask("recall", right, masks=rows.astype(np.float32)).sentence
    assert (
        "not those of its curve"
        in prepared.ask("recall", right | {"curve": curve | {"steps": []}}, masks=rows).sentence
    )


def test_what_cannot_be_done_is_said_in_a_sentence(segmented: Door, brain: Image, toy: Path) -> None:
    def resumed(**fields: Any) -> Asked:
        return segmented.ask("resume", {"key": "one"} | fields, mask=np.ones((2, 2, 2), np.uint8))

    assert "no point 100" in resumed(edit={"by": "point", "point": 99}).sentence
    assert "point is -1" in resumed(edit={"by": "point", "point": -1}).sentence
    assert "gamma is" in resumed(edit={"by": "gamma", "gamma": -1}).sentence
    assert "not a setting" in resumed(edit={"by": "gamma"}, settings={"colour": 1}).sentence
    assert "start is" in resumed(edit={"by": "gamma"}, settings={"start": "end"}).sentence
    drawn = {"by": "mask", "choice": {"by": "gamma"}, "passes_before": 0}
    assert "(2, 2, 2)" in resumed(edit=drawn).sentence
    assert "run Segment again" in resumed(key="other", edit={"by": "gamma"}).sentence
    assert "does not know the request dance" in segmented.ask("dance").sentence
    assert "not a setting" in segmented.prepare(brain, toy, colour="red").sentence
    assert "device is" in segmented.prepare(brain, toy, device="abacus").sentence
    assert "neither bundled" in segmented.prepare(brain, Path("nowhere")).sentence
    assert "run Segment again" in segmented.ask("infer", {"key": "one"}).sentence


def test_no_run_can_be_gone_on_from_before_there_is_one(prepared: Door) -> None:
    assert "run Segment first" in prepared.ask("resume", {"key": "one", "edit": {"by": "gamma"}}).sentence


def test_a_request_that_makes_no_sense_leaves_the_engine_at_work(prepared: Door) -> None:
    asked = prepared.ask("resume", {})
    assert "KeyError" in asked.sentence and "Traceback" in asked.ended.fields["trace"]
    assert prepared.ask("infer", {"key": "one"}).ended.kind == "done"


def test_models_come_and_go(toy: Path, no_installed_models: Path) -> None:
    with opened(command(XDG_DATA_HOME=str(no_installed_models))) as own:
        installed = own.ask("install_model", {"source": str(toy), "overwrite": False}).the("installed").fields
        assert installed["name"] == "toy" and Path(installed["folder"]).is_relative_to(no_installed_models)
        assert "exists already" in own.ask("install_model", {"source": str(toy)}).sentence
        names = [model["name"] for model in own.ask("describe").the("description").fields["models"]]
        assert names[-1] == "toy"
        assert own.ask("clear_models").the("cleared").fields["count"] == 1
        assert not Path(installed["folder"]).exists()


def test_released_memory_is_asked_for_again(segmented: Door, brain: Image, toy: Path) -> None:
    assert segmented.ask("release").ended.kind == "done"
    assert not segmented.client.has_case("one")
    assert "run Segment again" in segmented.ask("infer", {"key": "one"}).sentence
    assert segmented.prepare(brain, toy).kinds == ["phase", "phase", "prepared"]
