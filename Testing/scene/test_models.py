"""The models of the engine: listed without torch, installed, cleared; and what is said of the machine itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from IterMask3DLib import __version__
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from Testing.brains import toy_model
from Testing.scene.engine import TestEngine
from Testing.scene.samples import phantom_node

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def own(make_logic: Callable[..., Any], no_installed_models: Path) -> Iterator[Any]:
    """A logic with an engine and a folder of models of its own."""
    engine = TestEngine(XDG_DATA_HOME=str(no_installed_models))
    logic = make_logic(open_transport=engine.open)
    yield logic
    logic.close()
    engine.close()


def models(logic: Any) -> dict[str, Any]:
    return {model["name"]: model for model in logic.wait_for(logic.describe).models}


def test_the_bundled_model_is_the_default_and_says_what_it_is(logic: Any) -> None:
    assert logic.description is None
    description = logic.wait_for(logic.describe)
    assert logic.description is description
    model = description.model()
    assert model is description.model("t1w") is description.model(model["folder"])
    assert (model["name"], model["inputs"], model["origin"], model["spacing"]) == ("t1w", ["T1w"], "bundled", 2.0)
    assert model["problem"] is None and model["settings"]["sweep_passes"] == 100 and model["settings"]["gamma"] > 0
    assert "IXI" in model["training"] and model["licence"]
    assert description.missing == () and description.model("nowhere") is None


def test_models_are_installed_used_and_cleared(own: Any, choices: Request, tmp_path: Path) -> None:
    assert own.wait_for(own.clear_models) == 0
    folder = toy_model(tmp_path / "tiny")
    assert own.wait_for(own.install_model, folder) == "tiny"
    installed = models(own)["tiny"]
    assert installed["origin"] == "installed" and own.description.model_folder / "tiny" == Path(installed["folder"])
    other = toy_model(tmp_path / "zipped")
    own.wait_for(own.install_model, shutil.make_archive(str(tmp_path / "zipped"), "zip", other))
    assert [name for name, model in models(own).items() if model["origin"] == "installed"] == ["tiny", "zipped"]
    summary = own.process(phantom_node(), replace(choices, model="tiny"))
    assert summary.nodes.provenance["model"] == "tiny"
    with pytest.raises(UserError, match="exists already"):
        own.wait_for(own.install_model, folder)
    assert own.wait_for(own.install_model, folder, overwrite=True) == "tiny"
    assert own.wait_for(own.clear_models) == 2
    assert {model["origin"] for model in models(own).values()} == {"bundled"} and folder.is_dir()


def test_what_is_no_model_is_refused_in_a_sentence(logic: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="a model folder holds"):
        logic.wait_for(logic.install_model, tmp_path / "empty")
    (tmp_path / "notes.zip").write_text("no archive", encoding="utf-8")
    with pytest.raises(UserError, match="neither a model folder nor a readable zip file"):
        logic.wait_for(logic.install_model, tmp_path / "notes.zip")
    assert not logic.busy


def test_an_installed_model_that_is_damaged_is_listed_with_its_problem_and_refused(own: Any, tmp_path: Path) -> None:
    own.wait_for(own.install_model, toy_model(tmp_path / "toy"))
    (Path(models(own)["toy"]["folder"]) / "card.json").write_text("{", encoding="utf-8")
    problem = models(own)["toy"]["problem"]
    assert "card.json" in problem
    assert own.check_input(phantom_node(), None, "toy")[0].text == problem
    with pytest.raises(UserError, match=r"card\.json"):
        own.process(phantom_node(), Request(model="toy"))


def test_diagnostics_hold_what_someone_who_helps_wants_to_know(logic: Any) -> None:
    text = logic.wait_for(logic.diagnostics)
    for part in (f"IterMask3D {__version__}", "Slicer ", "VTK ", "Python 3.", "torch ", "CUDA", "Model t1w"):
        assert part in text, part


def test_the_logic_works_without_any_package_of_the_engine_in_its_own_process(toy: str) -> None:
    code = """
import sys
from importlib.abc import MetaPathFinder
GONE = ("torch", "scipy", "SimpleITK", "nibabel", "safetensors", "platformdirs", "matplotlib", "contourpy", "jinja2",
    "hypothesis")
class Missing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in GONE:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Missing())
from Testing.slicer_host import start_scene
start_scene()
import numpy, slicer.util
from IterMask3DLib.core.request import Request
from IterMask3DLib.scene.logic import SceneLogic
logic = SceneLogic()
rng = numpy.random.default_rng(0)
head = numpy.zeros((40, 44, 40), "int16")
head[5:35, 5:39, 5:35] = rng.integers(200, 400, (30, 34, 30))
matrix = numpy.diag([4.0, 4.0, 4.0, 1.0])
node = slicer.util.addVolumeFromArray(head, ijkToRAS=matrix, name="brain")
assert logic.wait_for(logic.describe).default_model == "t1w"
assert logic.check_input(node)
summary = logic.process(node, Request(model=sys.argv[1], device="cpu", settings={"gamma": 0.5}))
assert summary.anomaly_ml is not None
logic.threshold_heatmap(summary.nodes, 0.5)
assert logic.lesions(summary.nodes)
assert not set(GONE) & {name.split(".")[0] for name in sys.modules}
logic.close()
"""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "IterMask3D")])
    done = subprocess.run(
        [sys.executable, "-c", code, toy],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
