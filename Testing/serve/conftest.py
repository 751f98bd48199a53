"""One engine for all tests that do not end it, and the same case run in this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import CaseResult, Step
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.run import CaseRun, Events, Phase, finish
from Testing.brains import phantom, toy_model
from Testing.serve import strange_method
from Testing.serve.door import Asked, Door, command, opened


@dataclass(frozen=True)
class InProcess:
    """The reference: the case prepared here, the result of its run, and the masks its steps left [x, y, z]."""

    run: CaseRun
    result: CaseResult
    masks: list[np.ndarray]


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_model(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="session")
def brain() -> Image:
    """A phantom of another size along each axis, its axes turned, so that no mix-up of axes goes unseen."""
    array, affine = phantom((36, 44, 40), 4.0)
    turned, placed = array.transpose(1, 0, 2)[::-1], affine[:, [1, 0, 2, 3]].copy()
    placed[:3, 3] += placed[:3, 0] * (turned.shape[0] - 1)
    placed[:3, 0] *= -1
    return Image(np.ascontiguousarray(turned), placed, "phantom", "phantom.nii")


@pytest.fixture(scope="session")
def here(brain: Image, toy: Path) -> InProcess:
    request = Request(model=str(toy), device="cpu", backend="pytorch")
    run = CaseRun.of(Case(brain.name, {"T1w": brain}), load_model(toy), request)
    masks: list[np.ndarray] = []

    def keep(event: Step | Phase) -> None:
        if isinstance(event, Step):
            masks.append(event.layers["mask"].read())

    return InProcess(run, finish(run.infer(), keep), masks)


@pytest.fixture(scope="session")
def door() -> Iterator[Door]:
    with opened(command()) as one:
        yield one


@pytest.fixture(scope="session")
def whole_run(door: Door, brain: Image, toy: Path) -> Asked:
    """A run from its beginning to its end."""
    assert door.prepare(brain, toy).ended.kind == "prepared"
    return door.ask("infer", {"key": "one"})


@pytest.fixture
def prepared(door: Door, brain: Image, toy: Path) -> Door:
    """The door, with the brain prepared and no run made."""
    assert door.prepare(brain, toy).ended.kind == "prepared"
    return door


@pytest.fixture
def segmented(door: Door, brain: Image, toy: Path) -> Door:
    """The door, after a run."""
    if not door.client.has_state("one"):
        assert door.prepare(brain, toy).ended.kind == "prepared"
        assert door.ask("infer", {"key": "one"}).ended.kind == "done"
    return door


@pytest.fixture(scope="session")
def strange(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of the package and of the model of a method that misbehaves on request."""
    return strange_method.install(tmp_path_factory.mktemp("strange"))


def same_result(asked: Asked, events: Events, steps_until: int | None = None) -> CaseResult:
    """Holds that a request gave, to the last bit, what a run in this process gives; returns the latter.

    `steps_until`: after how many steps the run in this process is to be ended.
    """
    count = 0

    def on_event(event: Step | Phase) -> bool:
        nonlocal count
        count += isinstance(event, Step)
        return count == steps_until

    expected, told = finish(events, on_event), asked.the("result")
    assert len(asked.all("step")) == count
    assert set(told.fields["layers"]) == set(expected.layers)
    for name, layer in expected.layers.items():
        voxels = told.arrays[name].T
        wanted = np.round(layer.read()) if voxels.dtype == np.int16 else layer.read()
        assert np.array_equal(voxels, wanted), name
    assert np.array_equal(told.arrays["brain"].T, expected.brain)
    assert told.fields["scalars"] == dict(expected.scalars)
    assert [each["record"] for each in told.fields["artifacts"]] == [each.to_record() for each in expected.artifacts]
    assert told.fields["warnings"] == list(expected.warnings)
    return expected
