"""The panel's life: opened, hidden, the scene closed under it, the module reloaded, its engine killed."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

import slicer

from Testing.slicer_host import pythonqt
from Testing.slicer_host.application import finish_startup
from Testing.ui.story import BUNDLED, SAMPLE, phantom_node
from Testing.ui.user import User


@pytest.fixture
def started(load: Callable[..., Any], processes: Path) -> User:
    """A user whose engine the module has started itself, through `QProcess`; the toy model takes its time."""
    user = load()
    user.choose_model("toy")
    user.choose("sweep_passes", 200)
    return user


def engine_of(user: User) -> int:
    """The number of the engine's process: the youngest one, for other tests may keep one of theirs."""
    return max((pid for pid in children() if "IterMask3DLib.serve" in command_of(pid)), key=start_of)


def start_of(pid: int) -> int:
    """When a process was started, in the system's ticks."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def children() -> list[int]:
    """The processes that this one has started and that have not ended."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if words[1] == str(os.getpid()) and words[0] != "Z":
            found.append(int(folder.name))
    return found


def command_of(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def gone(pid: int) -> bool:
    """Whether a process ends within a while."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if pid not in children():
            return True
        time.sleep(0.02)
    return False


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")


def test_there_is_neither_a_window_nor_a_layout_here(user: User) -> None:
    assert slicer.util.mainWindow() is None and slicer.app.layoutManager() is None
    phantom_node()
    user.segment()
    user.set("pointSlider", 2)
    user.click("compareButton")
    assert "no slice views" in user.status and not user.ui.compareButton.checked


def test_slicer_is_told_what_the_module_is(user: User) -> None:
    parent = user.module.parent
    assert (parent.title, parent.categories) == ("IterMask3D", ["Segmentation"])
    assert "not a medical device" in parent.helpText and 'href="https://' in parent.helpText
    assert "103763" in parent.acknowledgementText
    assert not parent.icon.isNull()


def test_the_bundled_brain_is_offered_once_slicer_has_started(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[dict[str, Any]] = []
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **source: offered.append(source))
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    finish_startup()
    assert offered[0]["uris"] == SAMPLE.as_uri() and offered[0]["category"] == "IterMask3D"
    assert offered[0]["checksums"] == f"SHA256:{hashlib.sha256(SAMPLE.read_bytes()).hexdigest()}"
    assert Path(offered[0]["thumbnailFileName"]).is_file()


def test_the_panel_is_there_before_the_engine_has_answered(load: Callable[..., Any], processes: Path) -> None:
    user = load(wait=False)
    assert user.logic.description is None and not user.can("applyButton")
    phantom_node()
    user.until(lambda: user.logic.description is not None, "the list of models")
    assert user.ui.modelComboBox.count == 1 + BUNDLED and user.can("applyButton")


def test_closing_the_scene_ends_the_run(started: User) -> None:
    phantom_node()
    started.click("applyButton")
    started.reach(1)
    slicer.mrmlScene.Clear(0)
    started.wait()
    assert started.nodes is None and not started.can("applyButton")
    phantom_node()
    started.choose_model("toy")
    started.segment()
    assert started.nodes is not None


def test_a_run_goes_on_while_another_module_is_shown(started: User) -> None:
    phantom_node()
    started.choose("sweep_passes", 12)
    started.click("applyButton")
    started.module.exit()
    started.wait()
    started.module.enter()
    assert started.nodes.segmentation is not None


def test_removing_the_volume_ends_the_run_with_a_word(started: User) -> None:
    volume = phantom_node()
    started.click("applyButton")
    started.reach(1)
    slicer.mrmlScene.RemoveNode(volume)
    started.wait()
    assert "removed" in started.status


@pytest.mark.parametrize("role", ["browser", "iteration_table"])
def test_removing_a_node_of_the_result_in_mid_run_ends_in_words(started: User, role: str) -> None:
    phantom_node()
    started.click("applyButton")
    started.reach(2)
    slicer.mrmlScene.RemoveNode(getattr(started.nodes, role))
    started.wait()
    assert started.status and started.ui.applyButton.text == "Segment"
    started.choose("sweep_passes", 12)
    started.segment()
    assert started.nodes.segmentation is not None


@linux
def test_a_killed_engine_is_one_sentence_and_the_next_click_starts_another(started: User) -> None:
    phantom_node()
    first = engine_of(started)
    started.click("applyButton")
    started.reach(2)
    os.kill(first, signal.SIGKILL)
    started.wait()
    assert "Problem" in started.status and "it was killed" in started.status and "run again" in started.status
    assert started.ui.applyButton.text == "Segment" and gone(first)
    started.choose("sweep_passes", 12)
    started.segment()
    assert started.nodes.segmentation is not None and engine_of(started) != first


def test_a_command_of_the_user_s_runs_in_the_environment_that_slicer_was_started_in(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from IterMask3DLib.scene.run.engine_client import engine_command
    from IterMask3DLib.ui.engine_process import process_of

    said: list[bytes] = []
    ended: list[int | None] = []
    monkeypatch.setattr(slicer.util, "startupEnvironment", lambda: {"BEFORE": "yes"})
    monkeypatch.setenv("LD_LIBRARY_PATH", "of the application")
    asked = f'"{sys.executable}" -c "import os; print(*os.environ)"'
    process_of(engine_command(asked))(said.append, lambda code, words: ended.append(code))
    user.until(lambda: ended, "the end of the process")
    assert b"BEFORE" in b"".join(said) and b"LD_LIBRARY_PATH" not in b"".join(said) and ended == [0]


@pytest.mark.parametrize("waits", [False, True], ids=["the event loop", "a script that waits"])
def test_much_is_sent_in_pieces_whole_and_in_order(user: User, waits: bool) -> None:
    from IterMask3DLib.scene.run.transport import Command
    from IterMask3DLib.ui.engine_process import process_of

    sent = np.random.default_rng(0).bytes(50_000_001)
    said: list[bytes] = []
    read = "import sys, zlib; print(zlib.crc32(sys.stdin.buffer.read(50000003)), flush=True); sys.stdin.read()"
    process = process_of(Command((sys.executable, "-c", read)))(said.append, lambda code, words: None)
    process.write(b"a")
    start = time.thread_time()
    process.write(sent)
    assert time.thread_time() - start < 0.05
    process.write(b"z")
    while waits and not said:
        process.wait(1.0)
    user.until(lambda: said, "the answer")
    assert int(b"".join(said)) == zlib.crc32(b"a" + sent + b"z")
    process.kill()


@linux
def test_a_panel_that_goes_ends_its_engine_in_mid_run(started: User) -> None:
    phantom_node()
    engine = engine_of(started)
    started.click("applyButton")
    started.reach(1)
    started.leave()
    assert gone(engine)


def test_a_reloaded_module_works_with_new_code(
    load: Callable[..., Any], processes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = load()
    user.choose_model("toy")
    for name in [name for name in sys.modules if name.split(".")[0] in ("IterMask3D", "IterMask3DLib")]:
        # The other tests go on with the code they imported.
        monkeypatch.setitem(sys.modules, name, sys.modules[name])
    phantom_node()
    user.segment()
    old = sys.modules["IterMask3DLib.ui.panel"]
    user.widget.onReload()
    assert sys.modules["IterMask3DLib.ui.panel"] is not old
    assert slicer.modules.IterMask3DWidget is not user.widget
    user.widget = slicer.modules.IterMask3DWidget
    assert user.nodes is not None and user.nodes.segmentation is not None
    user.ui.seekWidget.setSelectedItemNumber(1)
    assert user.ui.passLabel.text == "2"


def test_the_panel_has_no_thread_and_leaves_no_timer(started: User) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    phantom_node()
    started.click("applyButton")
    started.reach(1)
    assert {thread.ident for thread in threading.enumerate()} == before
    started.leave()
    assert not any(timer.active for timer in pythonqt.timers)


def test_torch_is_never_imported_into_the_application(started: User) -> None:
    phantom_node()
    started.choose("sweep_passes", 12)
    before = set(sys.modules)
    started.segment()
    assert not {name.split(".")[0] for name in set(sys.modules) - before} & {"torch", "scipy", "SimpleITK"}


def lacking(monkeypatch: pytest.MonkeyPatch, packages: list[str], faster: Sequence[str] = ()) -> None:
    """Lets the engine say that it lacks these packages, and would be faster with others; the lists may change."""
    from IterMask3DLib.scene.records import Description

    of = Description.of

    def told(fields: Any) -> Any:
        return replace(of(fields), missing=tuple(packages), faster=tuple(faster))

    monkeypatch.setattr(Description, "of", told)


def test_missing_packages_are_explained_and_nothing_is_installed_unasked(
    load_toy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import IterMask3DLib.ui.install_section as section

    installed: list[Any] = []
    missing = ["torch", "nibabel"]
    lacking(monkeypatch, missing)
    monkeypatch.setattr(section, "install", lambda names, file, say: installed.append(tuple(names)))
    user = load_toy()
    phantom_node()
    assert "torch, nibabel" in user.ui.installLabel.text and not user.can("applyButton")
    assert "Install" in user.ui.applyButton.toolTip and installed == []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: False)
    user.click("installButton")
    assert installed == []
    asked: list[str] = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: asked.append(text) or True)
    missing.clear()
    user.click("installButton")
    user.until(lambda: user.can("applyButton"), "the engine that lacks nothing any more")
    assert "torch>=2.2" in asked[0] and "nibabel>=5.1" in asked[0] and installed == [("torch", "nibabel")]
    assert user.ui.installFrame.isHidden()


def test_what_would_make_runs_faster_is_offered_under_details_and_with_the_first_installation(
    load_toy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import IterMask3DLib.ui.install_section as section

    installed: list[Any] = []
    missing, faster = ["torch"], ["openvino"]
    lacking(monkeypatch, missing, faster)
    monkeypatch.setattr(section, "install", lambda names, file, say: installed.append(tuple(names)))
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: True)
    user = load_toy()
    assert not user.sees("fasterFrame")
    missing.clear()
    user.click("installButton")
    user.until(lambda: user.sees("fasterFrame"), "the offer under Details")
    assert installed == [("torch", "openvino")] and "openvino" in user.ui.fasterLabel.text
    faster.clear()
    user.click("fasterButton")
    user.until(lambda: not user.sees("fasterFrame"), "the end of the offer")
    assert installed[1] == ("openvino",)


def test_the_reason_of_a_failed_installation_is_shown(
    load_toy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import IterMask3DLib.ui.install_section as section

    def fail(*_: Any) -> None:
        raise section.InstallError("PyTorch could not be installed: no space left")

    lacking(monkeypatch, ["torch"])
    monkeypatch.setattr(section, "install", fail)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: True)
    user = load_toy()
    user.click("installButton")
    assert "no space left" in user.status and user.can("installButton")
