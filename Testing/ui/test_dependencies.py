"""What the panel installs, when it was asked to, and what it says when that fails."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "IterMask3D" / "Resources" / "requirements.txt"


@pytest.fixture
def dependencies(host: Any) -> Any:
    from IterMask3DLib.ui import dependencies

    return dependencies


class Installers:
    """Slicer's two installers; they note what they were asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[Any] = []
        self.torch: Callable[..., Any] = lambda **options: self.asked.append(("torch", options)) or "torch"
        self.packaging: Callable[..., Any] = lambda names, **options: self.asked.append((names, options))
        logic = SimpleNamespace(installTorch=lambda **options: self.torch(**options))
        self._add(monkeypatch, "PyTorchUtils", PyTorchUtilsLogic=lambda: logic)
        self._add(monkeypatch, "slicer.packaging", pip_ensure=lambda names, **options: self.packaging(names, **options))

    def _add(self, monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def installers(monkeypatch: pytest.MonkeyPatch) -> Installers:
    return Installers(monkeypatch)


def test_torch_comes_through_the_extension_and_the_rest_through_slicer(
    dependencies: Any, installers: Installers
) -> None:
    said: list[str] = []
    dependencies.install(["torch", "nibabel", "scipy"], FILE, said.append)
    (torch, options), (names, how) = installers.asked
    assert torch == "torch" and options["torchVersionRequirement"] == ">=2.2" and options["askConfirmation"] is False
    assert names == ["nibabel>=5.1", "scipy>=1.11"] and how == {"prompt_install": False, "requester": "IterMask3D"}
    assert "PyTorch" in said[0] and "nibabel" in said[1]


def test_what_is_there_is_not_installed_again(dependencies: Any, installers: Installers) -> None:
    dependencies.install(["nibabel", "openvino"], FILE, lambda text: None)
    assert [names for names, _ in installers.asked] == [["nibabel>=5.1", dependencies.OPENVINO]]


def test_an_older_slicer_installs_with_its_own_pip(
    dependencies: Any, installers: Installers, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    asked: list[list[str]] = []
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.setattr(slicer.util, "pip_install", asked.append)
    dependencies.install(["nibabel"], FILE, lambda text: None)
    assert asked == [["--prefer-binary", "nibabel>=5.1"]] and installers.asked == []


def test_a_missing_pytorch_extension_is_named(dependencies: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(dependencies.InstallError, match="Extensions Manager"):
        dependencies.install(["torch"], FILE, lambda text: None)


@pytest.mark.parametrize(
    ("missing", "error"),
    [("torch", RuntimeError("no space left")), ("nibabel", subprocess.CalledProcessError(1, "pip"))],
)
def test_the_reason_of_a_failure_is_told(
    dependencies: Any, installers: Installers, missing: str, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    installers.torch = installers.packaging = fail
    with pytest.raises(dependencies.InstallError, match=re.escape(str(error))):
        dependencies.install([missing], FILE, lambda text: None)


def test_torch_that_did_not_come_is_told(dependencies: Any, installers: Installers) -> None:
    installers.torch = lambda **options: None
    with pytest.raises(dependencies.InstallError, match="log"):
        dependencies.install(["torch"], FILE, lambda text: None)


def test_minimum_versions_are_those_of_the_package(dependencies: Any) -> None:
    listed = {line for line in FILE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (block,) = re.findall(r"^dependencies = \[\n(.*?)^\]", project, re.S | re.M)
    wanted = set(re.findall(r'"([^"]+)"', block))
    # PyTorch comes from its extension; the bars are those of the command line.
    assert listed == {line for line in wanted if not line.startswith(("torch", "tqdm"))}
    assert f"torch{dependencies.TORCH}" in wanted
    assert f'fast = ["{dependencies.OPENVINO}"]' in project
