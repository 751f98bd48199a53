"""The models of this machine: listed without torch, installed, cleared; and what is said of the machine itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from IterMask3DLib import __version__
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene.diagnostics import NEEDED
from IterMask3DLib.scene.records import RunOptions
from Testing.brains import toy_model
from Testing.scene.samples import phantom_node

ROOT = Path(__file__).resolve().parents[2]


def test_the_bundled_model_is_the_first_and_says_what_it_is(logic: Any) -> None:
    model = logic.models()[0]
    assert (model.name, model.modality, model.origin, model.spacing) == ("t1w-2mm", "T1w", "bundled", 2.0)
    assert model.problem is None and model.passes == 100 and model.gamma > 0
    assert "IXI" in model.training and model.licence


def test_a_model_is_installed_from_a_folder_or_a_zip_file_and_can_be_used(make_logic: Any, tmp_path: Path) -> None:
    logic = make_logic()
    folder = toy_model(tmp_path / "tiny")
    installed = logic.install_model(folder)
    assert (installed.name, installed.origin, installed.folder) == ("tiny", "installed", logic.model_folder() / "tiny")
    other = toy_model(tmp_path / "zipped")
    logic.install_model(shutil.make_archive(str(tmp_path / "zipped"), "zip", other))
    assert [model.name for model in logic.models() if model.origin == "installed"] == ["tiny", "zipped"]
    assert logic.process(phantom_node(), RunOptions(model="tiny", gamma=0.5)).nodes.provenance["model"] == "tiny"
    with pytest.raises(UserError, match="exists already"):
        logic.install_model(folder)
    assert logic.install_model(folder, overwrite=True).name == "tiny"


def test_clearing_removes_installed_models_alone(logic: Any, tmp_path: Path) -> None:
    assert logic.clear_models() == 0
    logic.install_model(toy_model(tmp_path / "one"))
    logic.install_model(toy_model(tmp_path / "two"))
    assert logic.clear_models() == 2
    assert [model.origin for model in logic.models()] == ["bundled"]
    assert (tmp_path / "one").is_dir()


def test_what_is_no_model_is_refused_in_a_sentence(logic: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="a model folder holds"):
        logic.install_model(tmp_path / "empty")
    (tmp_path / "notes.zip").write_text("no archive", encoding="utf-8")
    with pytest.raises(UserError, match="neither a model folder nor a readable zip file"):
        logic.install_model(tmp_path / "notes.zip")
    assert logic.clear_models() == 0


def test_an_installed_model_that_is_damaged_is_listed_with_its_problem_and_refused(
    make_logic: Any, tmp_path: Path
) -> None:
    logic = make_logic()
    installed = logic.install_model(toy_model(tmp_path / "toy"))
    (installed.folder / "card.json").write_text("{", encoding="utf-8")
    model = logic.models()[-1]
    assert model.name == "toy" and model.problem is not None and "install the model again" in model.problem
    assert logic.check_input(phantom_node(), None, RunOptions(model="toy"))[0].text == model.problem
    with pytest.raises(UserError, match=r"card\.json"):
        logic.process(phantom_node(), RunOptions(model="toy"))


def test_diagnostics_hold_what_someone_who_helps_wants_to_know(logic: Any) -> None:
    text = logic.diagnostics()
    for part in (
        f"IterMask3D {__version__}",
        "Slicer ",
        "VTK ",
        "Python 3.",
        "torch ",
        "CUDA",
        "Model t1w-2mm (bundled): T1w, 2 mm",
    ):
        assert part in text, part


def test_the_packages_it_asks_for_are_those_of_the_distribution(logic: Any) -> None:
    listed = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("\ndependencies = [")[1].split("]")[0]
    wanted = set(re.findall(r'"([A-Za-z0-9_.-]+)[>=<]', listed)) - {"numpy"}
    assert set(NEEDED.values()) == wanted
    assert logic.missing_packages() == []


def test_the_logic_opens_lists_models_and_checks_inputs_without_torch() -> None:
    code = """
import sys
from importlib.abc import MetaPathFinder
class Missing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("torch", "scipy", "SimpleITK", "nibabel", "safetensors", "platformdirs", "matplotlib", "jinja2"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Missing())
from Testing.slicer_host import start_scene
start_scene()
import numpy, slicer.util
from IterMask3DLib.scene.logic import SceneLogic
logic = SceneLogic()
node = slicer.util.addVolumeFromArray(numpy.arange(64000, dtype="int16").reshape(40, 40, 40), name="brain")
assert [model.name for model in logic.models()] == ["t1w-2mm"] and logic.model_folder() is None
assert logic.check_input(node)
told = []
logic.start(node, on_error=lambda sentence, trace: told.append((sentence, trace)))
logic.wait()
assert told == [("The Python package platformdirs is missing; install the packages IterMask3D needs first.", "")], told
logic.close()
"""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "IterMask3D")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
