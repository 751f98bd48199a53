"""Pause, cancel, and everything that can go wrong in the engine or on the way to it."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.core.image import Image
from IterMask3DLib.core.request import ByPoint
from IterMask3DLib.core.wire import Decoder, Message, encode
from IterMask3DLib.scene.run import transport
from IterMask3DLib.scene.run.engine_client import EngineClient, engine_command
from IterMask3DLib.scene.run.transport import Command
from Testing.brains import phantom_image
from Testing.serve.conftest import InProcess, same_result
from Testing.serve.door import LONGEST_SECONDS, Asked, Door, case_fields, command, eventually, linux, marked, opened

Strange = tuple[Path, Path]


@pytest.fixture(scope="module")
def misbehaving(strange: Strange) -> Iterator[Door]:
    """A door whose engine knows the strange method; tests may end the engine."""
    with opened(command(strange[0])) as one:
        yield one


def tricked(door: Door, strange: Strange, trick: str) -> Asked:
    """A run of the strange method."""
    assert door.prepare(phantom_image(), strange[1], "strange", settings={"trick": trick}).ended.kind == "prepared"
    return door.start("infer", {"key": "strange"})


def ended(door: Door, asked: Asked) -> Asked:
    assert door.client.wait(LONGEST_SECONDS)
    return asked


class TestPauseAndCancel:
    def test_a_paused_run_waits_and_then_goes_on_as_if_nothing_had_been(self, segmented: Door, here: InProcess) -> None:
        asked = segmented.start("resume", {"key": "one", "edit": {"by": "point", "point": 7}})
        segmented.client.pause(asked.id)
        segmented.until(lambda: bool(asked.all("step")))
        begun = time.monotonic()
        assert not segmented.client.wait(0.6)
        assert asked.kinds[-1] == "step" and len(asked.all("step")) == 1
        segmented.client.unpause(asked.id)
        same_result(ended(segmented, asked), here.run.resume(here.result.state, ByPoint(7)))
        assert asked.ended.fields["seconds"] < time.monotonic() - begun - 0.5 + asked.all("step")[0].fields["elapsed"]

    def test_a_run_cancelled_in_the_shrink_phase_keeps_its_last_pass(self, segmented: Door, here: InProcess) -> None:
        asked = segmented.start("resume", {"key": "one", "edit": {"by": "point", "point": 7}})
        segmented.client.pause(asked.id)
        segmented.until(lambda: bool(asked.all("step")))
        segmented.client.cancel(asked.id)
        expected = same_result(ended(segmented, asked), here.run.resume(here.result.state, ByPoint(7)), steps_until=1)
        assert asked.ended.fields["cancelled"] is True
        assert any("cancelled" in warning for warning in expected.warnings)
        edit = {"by": "point", "point": 7}
        assert segmented.ask("resume", {"key": "one", "edit": edit}).ended.fields["cancelled"] is False

    def test_a_run_cancelled_in_the_sweep_has_no_result(self, prepared: Door) -> None:
        asked = prepared.start("infer", {"key": "one"})
        prepared.client.pause(asked.id)
        prepared.until(lambda: bool(asked.all("step")))
        prepared.client.cancel(asked.id)
        assert ended(prepared, asked).kinds == ["phase", "step", "done"]
        assert asked.ended.fields["cancelled"] is True
        assert prepared.client.has_case("one") and not prepared.client.has_state("one")

    def test_a_request_is_cancelled_before_its_turn(self, prepared: Door) -> None:
        first, second = prepared.start("infer", {"key": "one"}), prepared.start("infer", {"key": "one"})
        prepared.client.cancel(second.id)
        prepared.client.wait(LONGEST_SECONDS)
        assert first.ended.fields["cancelled"] is False
        assert second.kinds == ["done"] and second.ended.fields["cancelled"] is True

    def test_preparing_can_be_cancelled(self, door: Door, brain: Image, toy: Path) -> None:
        asked = door.start("prepare", case_fields(brain, "one", toy), image__T1w=np.ascontiguousarray(brain.array.T))
        door.client.cancel(asked.id)
        assert ended(door, asked).ended.fields["cancelled"] is True
        assert not door.client.has_case("one")


class TestTricks:
    def test_what_libraries_print_does_not_reach_the_frames(self, misbehaving: Door, strange: Strange) -> None:
        asked = ended(misbehaving, tricked(misbehaving, strange, "print"))
        assert asked.kinds == ["phase", "step", "phase", "result", "done"]

    def test_a_method_nobody_knew_gives_what_it_has(self, misbehaving: Door, strange: Strange) -> None:
        asked = ended(misbehaving, tricked(misbehaving, strange, "none"))
        told = asked.the("result").fields
        assert set(told["layers"]) == {"anomaly", "heatmap"} and told["case_score"] == 1.0 and not told["resumable"]
        again = misbehaving.ask("resume", {"key": "strange", "edit": {"by": "gamma"}})
        assert again.sentence == "Strange cannot go on from a run that was made; run Segment again."

    def test_an_exception_nobody_foresaw_is_an_error_with_its_trace(self, misbehaving: Door, strange: Strange) -> None:
        asked = ended(misbehaving, tricked(misbehaving, strange, "raise"))
        assert "ZeroDivisionError: nobody foresaw this" in asked.sentence
        assert "Traceback" in asked.ended.fields["trace"]
        assert ended(misbehaving, tricked(misbehaving, strange, "none")).ended.kind == "done"

    @pytest.mark.parametrize("trick", ["numpy memory", "torch memory"])
    def test_too_little_memory_is_one_sentence(self, misbehaving: Door, strange: Strange, trick: str) -> None:
        asked = ended(misbehaving, tricked(misbehaving, strange, trick))
        assert "not enough memory" in asked.sentence and asked.ended.fields["trace"] == ""
        assert misbehaving.ask("infer", {"key": "other"}).ended.kind == "error"
        assert misbehaving.client.running

    @linux
    def test_a_real_limit_of_memory_is_one_sentence(self, strange: Strange) -> None:
        with opened(command(strange[0])) as door:
            ended(door, tricked(door, strange, "ration"))
            large = np.random.default_rng(0).integers(1, 255, (320, 320, 320), dtype=np.uint8)
            image = Image(large, np.diag([0.5, 0.5, 0.5, 1]), "large")
            asked = door.prepare(image, strange[1])
            assert "memory" in asked.sentence
            assert asked.ended.fields["trace"] == "" or not door.client.running

    @pytest.mark.parametrize(("trick", "how"), [("crash", "signal 11"), ("exit", "exit code 3")])
    def test_a_crash_is_one_sentence_and_the_next_request_works(
        self, misbehaving: Door, strange: Strange, trick: str, how: str
    ) -> None:
        asked = ended(misbehaving, tricked(misbehaving, strange, trick))
        assert asked.kinds.count("error") == 1 and how in asked.sentence and "run again" in asked.sentence
        assert not misbehaving.client.running and not misbehaving.client.has_case("strange")
        assert ended(misbehaving, tricked(misbehaving, strange, "none")).ended.kind == "done"

    def test_every_request_that_waits_hears_of_a_crash(self, misbehaving: Door, strange: Strange) -> None:
        waiting = [tricked(misbehaving, strange, "exit"), *(misbehaving.start("describe") for _ in range(3))]
        misbehaving.client.wait(LONGEST_SECONDS)
        assert [asked.kinds.count("error") for asked in waiting] == [1, 1, 1, 1]

    def test_large_messages_both_ways_at_once_do_not_block(self, misbehaving: Door, strange: Strange) -> None:
        flood = tricked(misbehaving, strange, "flood")
        large = np.zeros((300, 200, 200), np.float32)
        asked = [misbehaving.start("write", {}, one=large, two=large) for _ in range(3)]
        misbehaving.client.wait(LONGEST_SECONDS)
        assert flood.ended.kind == "done" and sum("noise" in m.arrays for m in flood.messages) > 20
        assert all(each.ended.kind == "error" for each in asked)


class Bare:
    """The engine's process with nothing but its pipes."""

    def __init__(self, started_by: Command) -> None:
        self.process = subprocess.Popen(
            started_by.arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **started_by.environment},
        )
        self._decoder = Decoder()
        self.messages: list[Message] = []

    def say(self, *messages: Message) -> None:
        assert self.process.stdin
        for message in messages:
            self.process.stdin.write(b"".join(encode(message)))
        self.process.stdin.flush()

    def hear(self, kind: str) -> Message:
        assert self.process.stdout
        while not any(message.kind == kind for message in self.messages):
            data = os.read(self.process.stdout.fileno(), 2**16)
            assert data, "it ended"
            self.messages += self._decoder.feed(data)
        return next(message for message in self.messages if message.kind == kind)

    def at_work(self, strange: Strange, trick: str) -> None:
        """In the middle of a pass of the strange method."""
        image = phantom_image()
        fields = case_fields(image, "strange", strange[1], settings={"trick": trick})
        self.say(Message("prepare", 1, fields, {"image:T1w": image.array.T}), Message("infer", 2, {"key": "strange"}))
        self.hear("step")


@pytest.fixture
def bare(strange: Strange) -> Iterator[Bare]:
    one = Bare(command(strange[0]))
    yield one
    one.process.kill()
    one.process.__exit__(None, None, None)


class TestTheOtherSide:
    def test_the_end_of_the_input_ends_it_in_mid_pass(self, bare: Bare, strange: Strange) -> None:
        bare.at_work(strange, "sleep")
        assert bare.process.stdin
        bare.process.stdin.close()
        assert bare.process.wait(10) == 0

    def test_an_output_that_nobody_reads_any_more_ends_it(self, bare: Bare, strange: Strange) -> None:
        bare.at_work(strange, "flood")
        assert bare.process.stdout
        bare.process.stdout.close()
        assert bare.process.wait(LONGEST_SECONDS) == 0

    @pytest.mark.skipif(os.name == "nt", reason="needs signals")
    def test_an_interrupt_is_for_the_door_to_decide(self, bare: Bare, strange: Strange) -> None:
        bare.at_work(strange, "none")
        bare.process.send_signal(signal.SIGINT)
        bare.say(Message("hello", 3))
        assert bare.hear("hello").fields["pid"] == bare.process.pid

    @pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n\r\n", b"IM3DWIR\x01" + struct.pack("<IQ", 2, 0) + b"{}"])
    def test_what_is_no_message_is_refused_in_a_sentence_and_ends_it(self, bare: Bare, noise: bytes) -> None:
        assert bare.process.stdin
        bare.process.stdin.write(noise)
        bare.process.stdin.flush()
        told = bare.hear("error")
        assert told.id == 0 and told.fields["sentence"].endswith(("damaged.", "nothing."))
        assert bare.process.wait(LONGEST_SECONDS) == 2

    def test_a_terminal_is_told_that_it_is_none_of_its_business(self) -> None:
        pty = pytest.importorskip("pty")
        _, terminal = pty.openpty()
        usual = engine_command()
        done = subprocess.run(
            usual.arguments,
            stdin=terminal,
            capture_output=True,
            encoding="utf-8",
            env={**os.environ, **usual.environment},
        )
        assert done.returncode == 2 and done.stderr.startswith("error: ")

    @linux
    def test_it_answers_at_once_and_without_torch(self, bare: Bare) -> None:
        bare.say(Message("hello", 1), Message("describe", 2))
        bare.hear("description")
        assert "torch" not in Path(f"/proc/{bare.process.pid}/maps").read_text(encoding="utf-8")

    def test_it_describes_itself_where_nothing_but_numpy_is_installed(self, tmp_path: Path) -> None:
        site = Path(np.__file__).parents[1]
        for name in ("numpy", "numpy.libs"):
            if (site / name).exists():
                (tmp_path / name).symlink_to(site / name)
        usual = engine_command()
        alone = Command((sys.executable, "-S", *usual.arguments[1:]), command(tmp_path).environment)
        with opened(alone) as door:
            told = door.ask("describe").the("description").fields
            assert {"torch", "scipy", "SimpleITK", "nibabel"} <= set(told["missing"])
            assert told["models"][0]["problem"] is None and told["model_folder"] is None
            asked = door.prepare(phantom_image(), Path(told["models"][0]["folder"]))
            assert asked.sentence.startswith("The Python package ") and "install the packages" in asked.sentence
            assert asked.ended.fields["trace"] == ""


KILLS = int(os.environ.get("ITERMASK3D_KILLS", "4"))
"""Random moments at which tests kill; the checklist of the tests asks for 50."""

_DOOR = """
import sys
from IterMask3DLib.scene.run import transport
from IterMask3DLib.scene.run.engine_client import EngineClient
from IterMask3DLib.scene.run.transport import Command, pipes_to
from Testing.brains import phantom_image
from Testing.serve.door import Door, case_fields
door = Door(EngineClient(pipes_to(Command(tuple(sys.argv[3:])))))
image = phantom_image()
door.start("prepare", case_fields(image, "one", sys.argv[1], settings={"trick": sys.argv[2]}), image__T1w=image.array.T)
print("begun", flush=True)
door.start("infer", {"key": "one"})
door.client.wait()
"""


@linux
class TestKilled:
    def test_the_engine_at_random_moments(self, strange: Strange, tmp_path: Path) -> None:
        mark, moments = f"killed-engine-{os.getpid()}", np.random.default_rng(7).uniform(0, 3, KILLS)
        with opened(command(strange[0], ITERMASK3D_MARK=mark)) as door:
            for moment in moments:
                asked = (
                    door.start("describe"),
                    door.start(
                        "prepare",
                        case_fields(image := phantom_image(), "strange", strange[1], settings={"trick": "sleep"}),
                        image__T1w=image.array.T,
                    ),
                    door.start("infer", {"key": "strange"}),
                )
                door.client.wait(moment)
                for process in marked(mark):
                    os.kill(process, signal.SIGKILL)
                assert door.client.wait(10)
                assert "it was killed" in asked[2].sentence
                assert eventually(lambda: not marked(mark))
            assert ended(door, tricked(door, strange, "none")).ended.kind == "done"
        assert eventually(lambda: not marked(mark))

    @pytest.mark.parametrize("trick", ["sleep", "flood", "tool"])
    def test_the_door_at_random_moments(self, strange: Strange, trick: str) -> None:
        mark = f"killed-door-{os.getpid()}-{trick}"
        started_by = command(strange[0], Path(__file__).parents[2])
        environment = {**os.environ, **started_by.environment, "ITERMASK3D_MARK": mark}
        for moment in np.random.default_rng(8).uniform(0, 4, KILLS):
            arguments = [sys.executable, "-c", _DOOR, str(strange[1]), trick, *started_by.arguments]
            with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE) as process:
                assert process.stdout and process.stdout.readline() == b"begun\n"
                time.sleep(moment)
                process.kill()
            assert eventually(lambda: not marked(mark), 10), marked(mark)

    def test_the_engine_with_a_tool_of_its_own_at_work(self, strange: Strange) -> None:
        mark = f"killed-tool-{os.getpid()}"
        with opened(command(strange[0], ITERMASK3D_MARK=mark)) as door:
            asked = tricked(door, strange, "tool")
            door.until(lambda: len(marked(mark)) == 2)
            door.client.kill()
            assert "it was killed" in ended(door, asked).sentence
            assert eventually(lambda: not marked(mark))
            tricked(door, strange, "tool")
            door.until(lambda: len(marked(mark)) == 2)
        assert eventually(lambda: not marked(mark))


class TestClient:
    def test_needs_no_thread(self, misbehaving: Door) -> None:
        before = threading.active_count()
        misbehaving.ask("hello")
        assert threading.active_count() == before

    def test_knows_the_engine_it_speaks_to(self, misbehaving: Door) -> None:
        told = misbehaving.ask("hello").the("hello").fields
        assert misbehaving.client.engine == told

    def test_an_engine_that_cannot_be_started_is_an_error_of_the_request(self) -> None:
        with opened(Command(("/nowhere/python",))) as door:
            asked = door.start("hello")
            assert asked.messages == []
            assert "cannot be started: /nowhere/python: No such file" in ended(door, asked).sentence

    @pytest.mark.parametrize(
        ("script", "told"),
        [
            (
                "import sys; sys.exit('ssh: Could not resolve hostname gpu1')",
                r"exit code 1: ssh: Could not resolve hostname gpu1",
            ),
            ("print('Welcome to gpu1'); input()", r"Welcome to gpu1.*must print nothing"),
            ("import sys; sys.stdout.write('IM3DWIR' + chr(9) + ' ' * 9); input()", r"version 9"),
            ("pass", r"the connection was closed"),
        ],
    )
    @pytest.mark.parametrize("kind", ["PollingPipes", "ThreadedPipes"])
    def test_what_is_no_engine_is_told_in_its_own_words(self, script: str, told: str, kind: str) -> None:
        started_by = Command((sys.executable, "-c", script))
        door = Door(EngineClient(lambda data, end: getattr(transport, kind)(started_by, data, end)))
        assert re.search(told, door.ask("hello").sentence)

    def test_closing_ends_the_engine_and_nothing_more_is_heard(self, strange: Strange) -> None:
        with opened(command(strange[0])) as door:
            asked = tricked(door, strange, "sleep")
            door.until(lambda: bool(asked.all("step")))
            heard = len(asked.messages)
            begun = time.monotonic()
            door.client.close()
            assert time.monotonic() - begun < 10
            assert not door.client.busy and not door.client.running and len(asked.messages) == heard
            assert door.ask("hello").ended.kind == "hello"

    def test_what_hears_may_ask_wait_and_close(self, strange: Strange) -> None:
        with opened(command(strange[0])) as door:
            heard: list[str] = []

            def on_message(message: Message) -> None:
                heard.append(message.kind)
                if len(heard) == 1:
                    door.client.request("hello", on_message=on_message)
                    door.client.wait(LONGEST_SECONDS)
                elif len(heard) == 2:
                    door.client.close()

            door.client.request("hello", on_message=on_message)
            door.client.wait(LONGEST_SECONDS)
            assert heard == ["hello", "hello"] and not door.client.running

    def test_a_listener_that_fails_costs_no_message_of_others(self, misbehaving: Door) -> None:
        def fail(message: Message) -> None:
            raise ZeroDivisionError

        misbehaving.client.request("hello", on_message=fail)
        asked = misbehaving.start("hello")
        with pytest.raises(ZeroDivisionError):
            misbehaving.client.wait(LONGEST_SECONDS)
        assert ended(misbehaving, asked).ended.kind == "hello"

    def test_the_other_transport_tells_the_same(self, strange: Strange) -> None:
        client = EngineClient(lambda data, end: transport.ThreadedPipes(command(strange[0]), data, end))
        door = Door(client)
        assert ended(door, tricked(door, strange, "flood")).ended.kind == "done"
        assert "exit code 3" in ended(door, tricked(door, strange, "exit")).sentence
        asked = tricked(door, strange, "sleep")
        client.kill()
        assert "it was killed" in ended(door, asked).sentence
        client.close()

    def test_the_engine_is_the_python_of_the_application(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        assert engine_command().arguments == (sys.executable, "-m", "IterMask3DLib.serve")
        slicer = tmp_path / "PythonSlicer"
        slicer.write_text("", encoding="utf-8")
        slicer.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert engine_command().arguments[0] == str(slicer)

    def test_a_command_of_the_user_is_taken_as_a_shell_takes_it(self) -> None:
        assert engine_command("ssh -p 22 gpu1 'itermask3d serve'").arguments == (
            "ssh",
            "-p",
            "22",
            "gpu1",
            "itermask3d serve",
        )
        assert engine_command("ssh gpu1 itermask3d serve").environment == {}
        with pytest.raises(Exception, match="cannot be read"):
            engine_command("ssh 'gpu1")
