"""What users do, and would trip over: volumes that were there before, edits of their own, nodes that are deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

import slicer

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene.nodes.result_nodes import is_ours
from Testing.ui.story import algorithm, anomaly, draw, phantom_node
from Testing.ui.user import User

SELECTORS = ("inputVolumeSelector", "brainMaskSelector", "outputSegmentationSelector")


def offered(selector: Any) -> list[Any]:
    return [selector.nodeFromIndex(index) for index in range(selector.nodeCount())]


@pytest.fixture
def answers(user: User) -> list[bool]:
    """What the user will say when asked, in turn; every question takes one."""
    given: list[bool] = []
    user.session._ask = lambda question: given.pop(0)
    return given


def edit(user: User) -> Any:
    """A person draws a cube into the anomaly; returns the anomaly."""
    mask = anomaly(user.nodes)
    mask[10:14, 10:14, 10:14] = 1 - mask[10:14, 10:14, 10:14]
    draw(user.nodes, mask)
    return mask


# Which nodes are offered


def test_a_volume_that_was_there_before_the_panel_is_selected(host: Any, load_toy: Callable[..., Any]) -> None:
    volume = phantom_node()
    user = load_toy()
    assert user.ui.inputVolumeSelector.currentNode() is volume is user.session.parameters.inputVolume
    assert user.can("applyButton")


def test_a_volume_that_came_while_another_module_was_shown_is_selected(user: User) -> None:
    user.module.exit()
    volume = phantom_node()
    user.module.enter()
    assert user.ui.inputVolumeSelector.currentNode() is volume


def test_the_selectors_do_not_offer_what_the_module_made(done: User) -> None:
    for name in SELECTORS:
        ours = [node.GetName() for node in offered(getattr(done.ui, name)) if is_ours(node)]
        assert ours == ([] if name != "outputSegmentationSelector" else [done.nodes.segmentation.GetName()]), name
    assert offered(done.ui.inputVolumeSelector) == [done.nodes.input]


def test_the_selectors_of_a_scene_that_was_opened_do_not_offer_it_either(done: User, tmp_path: Any) -> None:
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {})
    assert offered(done.ui.inputVolumeSelector) == [done.nodes.input]
    assert done.ui.inputVolumeSelector.currentNode() is done.nodes.input


def test_a_deleted_input_leaves_an_empty_selector(done: User) -> None:
    other = phantom_node("other")
    slicer.mrmlScene.RemoveNode(done.nodes.input)
    assert done.ui.inputVolumeSelector.currentNode() is None and done.session.parameters.inputVolume is None
    assert done.nodes is None and not done.can("applyButton")
    done.ui.inputVolumeSelector.setCurrentNode(other)
    assert done.can("applyButton")


def test_a_volume_that_is_loaded_into_an_empty_selector_is_selected(done: User) -> None:
    slicer.mrmlScene.RemoveNode(done.nodes.input)
    later = phantom_node("later")
    assert done.ui.inputVolumeSelector.currentNode() is later


# Edits of a person


def test_segment_on_an_edited_anomaly_asks_and_can_write_another(done: User, answers: list[bool]) -> None:
    edited, drawn = done.nodes.segmentation, edit(done)
    segment = done.nodes.segment_id
    assert algorithm(done.nodes) == "SEMIAUTOMATIC"
    answers.append(True)
    done.segment()
    assert not answers and done.nodes.segmentation is not edited
    kept = slicer.util.arrayFromSegmentBinaryLabelmap(edited, segment, done.nodes.input)
    np.testing.assert_array_equal(kept, drawn)


def test_segment_on_an_edited_anomaly_can_replace_it_and_undo_brings_it_back(done: User, answers: list[bool]) -> None:
    edited, drawn = done.nodes.segmentation, edit(done)
    answers.extend([False, True])
    done.segment()
    assert not answers and done.nodes.segmentation is edited
    assert not np.array_equal(anomaly(done.nodes), drawn)
    done.panel.anomaly.editor._widget.undo()
    np.testing.assert_array_equal(anomaly(done.nodes), drawn)


def test_segment_on_an_edited_anomaly_can_be_thought_better_of(done: User, answers: list[bool]) -> None:
    drawn = edit(done)
    answers.extend([False, False])
    done.click("applyButton")
    assert not answers and not done.logic.busy
    np.testing.assert_array_equal(anomaly(done.nodes), drawn)


def test_shrink_again_on_an_edited_anomaly_asks_too(done: User, answers: list[bool]) -> None:
    edit(done)
    answers.extend([False, False])
    done.set("pointSlider", 2)
    done.click("shrinkAgainButton")
    assert not answers and not done.logic.busy


def test_an_anomaly_nobody_edited_is_replaced_without_a_question(done: User, answers: list[bool]) -> None:
    first = done.nodes.segmentation
    done.segment()
    assert done.nodes.segmentation is first


def test_a_refused_iteration_is_not_reported_as_done(done: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise UserError("The mask of this iteration is not there.")

    monkeypatch.setattr(done.logic, "use_iteration", refuse)
    done.click("useIterationButton")
    assert done.status == "Problem: The mask of this iteration is not there." and "is the anomaly now" not in done.log


# Words


def test_a_run_that_found_nothing_says_so(user: User) -> None:
    phantom_node()
    user.choose("median_multiple", 1e6)
    user.segment()
    assert not anomaly(user.nodes).any() and user.ui.lesionsTable.rowCount == 0
    assert "No anomaly was found" in user.ui.lesionsLabel.text and "no anomaly" in user.status.lower()


def test_one_lesion_is_one_lesion(done: User) -> None:
    mask = np.zeros_like(anomaly(done.nodes))
    mask[10:14, 10:14, 10:14] = 1
    draw(done.nodes, mask)
    done.click("measureButton")
    assert done.ui.lesionsLabel.text.startswith("1 lesion,")


# Values outside the usual


def test_a_valid_card_with_unusual_values_does_not_break_the_panel(load_strange: User) -> None:
    user = load_strange
    user.choose_model("strange")
    method = user.panel.advanced.method
    assert method.control("gamma").value == pytest.approx(250.0)
    assert method.control("sweep_passes").value == 1 and method.control("r_squared_limit").value == -5000.0
    assert not user.session.request.settings, "what the card says is no choice of the user"
    phantom_node()
    user.segment()
    assert user.nodes.curve is not None and dict(user.nodes.request.settings) == {}
    assert "R² -" not in user.ui.curveLabel.text


@pytest.fixture
def load_strange(load: Callable[..., Any], own_data: Any) -> User:
    """A user with a model whose card has values that are allowed and that no one would choose."""
    from IterMask3DLib.scene.run.transport import pipes_to
    from Testing.brains import toy_model
    from Testing.ui.conftest import command_with

    folder = toy_model(own_data / "itermask3d" / "models" / "strange")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card["settings"] |= {"gamma": 250.0, "sweep_passes": 1, "r_squared_limit": -5000.0, "smoothing_mm": 0.0001}
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    user: User = load(pipes_to(command_with(own_data)))
    return user


def test_a_model_of_the_scene_that_is_not_installed_is_named(user: User) -> None:
    user.session.parameters.model = "somewhere-else"
    user.session.refresh()
    user.panel.input.select_model()
    assert "somewhere-else" in user.status and user.ui.modelComboBox.currentIndex == 0


# Scenes of earlier versions


def test_parameters_of_an_earlier_version_are_brought_to_the_present_ones(user: User) -> None:
    node = user.logic.getParameterNode()
    user.widget.drop_parameters()
    old = {
        "gamma": "0.125",
        "modelGamma": "false",
        "start": "BEST",
        "quality": "FULL",
        "device": "CPU",
        "precision": "SINGLE",
        "seed": "7",
        "sweepPasses": "20",
        "heatmapOpacity": "0.3",
    }
    for name, value in old.items():
        node.SetParameter(name, value)
    user.widget.use_parameters()
    request = user.session.request
    assert (request.quality, request.device, request.precision, request.seed) == ("full", "cpu", "single", 7)
    assert dict(request.settings) == {"gamma": 0.125, "start": "best", "sweep_passes": 20}
    assert user.panel.advanced.method.control("gamma").value == pytest.approx(0.125)
    assert user.session.parameters.heatmapOpacity == pytest.approx(0.3)
    assert not [name for name in old if name != "heatmapOpacity" and node.GetParameter(name)]


def test_gamma_of_an_earlier_version_counts_only_where_it_was_the_users(user: User) -> None:
    node = user.logic.getParameterNode()
    user.widget.drop_parameters()
    for name, value in {"gamma": "0.125", "modelGamma": "true", "start": "BRAIN", "sweepPasses": "100"}.items():
        node.SetParameter(name, value)
    user.widget.use_parameters()
    assert user.session.request.settings == {} and user.session.request.quality == "auto"
