"""A stranger's method in the panel: its own settings and the sections it can fill are there, the others are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

import slicer

from Testing.brains import toy_model
from Testing.scene.engine import TestEngine
from Testing.toy_methods.models import toy_method_model
from Testing.ui.conftest import command_with
from Testing.ui.story import anomaly, phantom_node
from Testing.ui.user import User

RESULTS = {
    "iterationsCollapsibleButton": "steps",
    "curveFrame": "threshold_curve",
    "heatmapCollapsibleButton": "heatmap",
    "anomalyCollapsibleButton": "segmentation",
    "continueCollapsibleButton": "resume_from_mask",
}
"""What of the panel needs which ability of a method."""


@pytest.fixture(scope="module")
def engine(toy_methods: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestEngine]:
    """An engine with the toy methods and a model of each."""
    data = tmp_path_factory.mktemp("strangers")
    models = data / "itermask3d" / "models"
    toy_model(models / "toy")
    for method in ("toy_reconstruction", "toy_case_score"):
        toy_method_model(models / method.replace("_", "-"), method)
    engine = TestEngine(**command_with(data, toy_methods).environment)
    yield engine
    engine.close()


@pytest.fixture
def user(load: Callable[..., Any], engine: TestEngine) -> User:
    found: User = load(engine.open)
    return found


def settings(user: User) -> set[str]:
    """The names of the settings of the method that the panel shows."""
    forms = user.panel.advanced.method, user.panel.advanced.usual
    known = ("gamma", "start", "sweep_passes", "normative_error", "cut", "rounds", "power")
    return {name for name in known if any(form.control(name) is not None for form in forms)}


def sections(user: User) -> set[str]:
    return {name for name in RESULTS if user.sees(name)}


def test_each_model_brings_the_settings_of_its_method(user: User) -> None:
    user.choose_model("toy-reconstruction")
    assert settings(user) == {"cut", "rounds"}
    user.choose_model("toy-case-score")
    assert settings(user) == {"power"}
    user.choose_model("toy")
    assert settings(user) == {"gamma", "start", "sweep_passes", "normative_error"}


def test_the_settings_that_a_method_does_not_call_advanced_stand_beside_the_model(user: User) -> None:
    user.choose_model("toy")
    assert not user.sees("usualSettingsFrame")
    user.choose_model("toy-reconstruction")
    assert user.sees("usualSettingsFrame") and user.panel.advanced.usual.control("cut").value == 1.0
    phantom_node()
    user.choose("cut", 2.0)
    user.segment()
    assert user.nodes.request.settings == {"cut": 2.0}
    user.choose("cut", 3.0)
    assert "Press Segment" in user.status and not user.logic.busy, "it would have to run again"


def test_choices_for_one_method_wait_while_a_model_of_another_is_chosen(user: User) -> None:
    user.choose_model("toy-reconstruction")
    user.choose("rounds", 2)
    user.choose_model("toy")
    assert user.session.request.settings == {}
    user.choose("start", "best")
    user.choose_model("toy-reconstruction")
    assert user.session.request.settings == {"rounds": 2}


def test_a_method_with_steps_and_a_mask_has_these_sections_and_no_others(user: User) -> None:
    phantom_node()
    user.choose_model("toy-reconstruction")
    user.choose("rounds", 2)
    user.segment()
    assert len(user.nodes.steps) == 2 and anomaly(user.nodes).shape
    assert sections(user) == {"iterationsCollapsibleButton", "heatmapCollapsibleButton", "anomalyCollapsibleButton"}


def test_the_model_of_the_panel_s_own_method_has_all_sections(user: User) -> None:
    phantom_node()
    user.choose_model("toy")
    user.segment()
    assert sections(user) == set(RESULTS)


def test_a_method_of_two_channels_asks_for_both_and_tells_a_score(user: User) -> None:
    first, second = phantom_node("first"), phantom_node("second")
    user.choose_model("toy-case-score")
    assert user.sees("channelsFrame")
    user.ui.inputVolumeSelector.setCurrentNode(first)
    user.panel.input.channel("T2w").setCurrentNode(second)
    user.segment()
    assert user.nodes.channels == {"T1w": first, "T2w": second}
    # The scores of its slices stand where others have their threshold curve.
    assert sections(user) == {"curveFrame"} and not user.sees("pointSlider") and not user.sees("shrinkAgainButton")
    assert user.panel.iterations.plot._node.GetPlotChartNodeID() == user.nodes.scores_chart.GetID()
    assert f"{user.nodes.outcome['case_score']:.3g}" in user.status
    user.choose_model("toy")
    assert not user.sees("channelsFrame")


def test_a_second_channel_that_is_missing_is_told_before_the_run(user: User) -> None:
    phantom_node()
    user.choose_model("toy-case-score")
    assert not user.can("applyButton") and "T2w" in user.ui.checksLabel.text
    assert slicer.mrmlScene is not None
