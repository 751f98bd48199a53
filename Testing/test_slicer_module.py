"""The file that Slicer loads, on stand-ins for the parts of Slicer it touches."""

from __future__ import annotations

import importlib.util
import sys
import urllib.request
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

MODULE = Path(__file__).resolve().parents[1] / "IterMask3D"
BRAIN = MODULE / "Resources" / "SampleData" / "open_ms_patient19_T1.nii.gz"


class Base:
    """Stands in for ScriptedLoadableModule and ScriptedLoadableModuleWidget: keeps what it is given."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent

    def setup(self) -> None:
        self.layout = SimpleNamespace(widgets=[], addStretch=lambda _: None)
        self.layout.addWidget = self.layout.widgets.append


class Host(SimpleNamespace):
    """What the module did to Slicer: the functions to call at start-up and the samples it registered."""

    module: Any
    startup: dict[str, Any]
    samples: list[dict[str, Any]]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    startup: dict[str, Any] = {}
    samples: list[dict[str, Any]] = []
    scripted = {"ScriptedLoadableModule": Base, "ScriptedLoadableModuleWidget": Base}
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **source: samples.append(source))
    parts: dict[str, dict[str, Any]] = {
        "slicer": {"app": SimpleNamespace(connect=startup.__setitem__)},
        "slicer.i18n": {"tr": lambda text: text},
        "slicer.ScriptedLoadableModule": scripted,
        "qt": {"QLabel": lambda text: SimpleNamespace(text=text)},
        "SampleData": {"SampleDataLogic": logic},
    }
    for name, members in parts.items():
        stand_in = ModuleType(name)
        vars(stand_in).update(members)
        monkeypatch.setitem(sys.modules, name, stand_in)
    spec = importlib.util.spec_from_file_location("IterMask3D_under_test", MODULE / "IterMask3D.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Host(module=module, startup=startup, samples=samples)


def test_the_bundled_brain_is_offered_once_slicer_has_started_and_needs_no_network(host: Host) -> None:
    host.module.IterMask3D(SimpleNamespace())
    assert host.samples == []
    host.startup["startupCompleted()"]()
    (sample,) = host.samples
    assert sample["uris"].startswith("file:")
    with urllib.request.urlopen(sample["uris"]) as file:
        assert file.read() == BRAIN.read_bytes()


def test_slicer_shows_what_the_module_is_and_that_it_is_for_research_only(host: Host) -> None:
    parent = SimpleNamespace()
    host.module.IterMask3D(parent)
    assert (parent.title, parent.categories) == ("IterMask3D", ["Segmentation"])
    widget = host.module.IterMask3DWidget(None)
    widget.setup()
    for text in (parent.helpText, widget.layout.widgets[0].text):
        assert "not a medical device" in text
        assert "itermask3d" in text and "IterMask3DLib.pipeline.segment" in text
