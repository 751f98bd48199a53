"""The engine on another computer: a real SSH server on the loopback, with a key of its own, on a port of its own."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from IterMask3DLib.core.image import Image
from IterMask3DLib.scene.run.engine_client import engine_command
from Testing.serve.conftest import InProcess, same_result
from Testing.serve.door import LONGEST_SECONDS, eventually, marked, opened

SERVER = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")

pytestmark = pytest.mark.skipif(
    not SERVER or not shutil.which("ssh") or not shutil.which("ssh-keygen"), reason="needs an SSH server and client"
)


@dataclass(frozen=True)
class Host:
    """A server that lets in who has `key`."""

    port: int
    key: Path

    def command(self, remote: str, key: Path | None = None) -> str:
        """What a user would write; without their own configuration."""
        options = (
            "-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        )
        where = (
            f"-o IdentitiesOnly=yes -i {shlex.quote(str(key or self.key))} -p {self.port} {getpass.getuser()}@127.0.0.1"
        )
        return f"ssh {options} {where} {shlex.quote(remote)}"


def remote_command(**environment: str) -> str:
    """What starts the engine at the other end."""
    usual = engine_command()
    variables = {**usual.environment, **environment}
    return shlex.join(["env", *(f"{name}={value}" for name, value in variables.items()), *usual.arguments])


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("ssh")
    folder.chmod(0o700)
    for name in ("host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines = {
        "ListenAddress": "127.0.0.1",
        "Port": port,
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in lines.items()), encoding="utf-8")
    if os.geteuid() == 0:
        with suppress(OSError):
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    log = folder / "log"
    assert SERVER
    with subprocess.Popen([SERVER, "-D", "-f", str(folder / "config"), "-E", str(log)]) as server:
        try:
            one = Host(port, folder / "user")
            if not eventually(lambda: server.poll() is not None or _lets_in(one)):
                pytest.skip(f"the SSH server lets nobody in: {log.read_text(encoding='utf-8', errors='replace')}")
            if server.poll() is not None:
                pytest.skip(f"the SSH server does not start: {log.read_text(encoding='utf-8', errors='replace')}")
            yield one
        finally:
            server.kill()


def _lets_in(host: Host) -> bool:
    return subprocess.run(shlex.split(host.command("true")), capture_output=True).returncode == 0


def test_a_run_on_another_computer_is_the_same(host: Host, brain: Image, toy: Path, here: InProcess) -> None:
    with opened(engine_command(host.command(remote_command()))) as door:
        assert door.prepare(brain, toy).ended.kind == "prepared"
        same_result(door.ask("infer", {"key": "one"}), here.run.infer())


def test_a_killed_connection_leaves_nothing_at_the_other_end(host: Host, brain: Image, toy: Path) -> None:
    mark = f"remote-{os.getpid()}"
    with opened(engine_command(host.command(remote_command(ITERMASK3D_MARK=mark)))) as door:
        door.prepare(brain, toy)
        asked = door.start("infer", {"key": "one"})
        door.until(lambda: bool(asked.all("step")))
        assert marked(mark)
        door.client.kill()
        assert door.client.wait(LONGEST_SECONDS)
        assert "it was killed" in asked.sentence
        assert eventually(lambda: not marked(mark))
        assert door.prepare(brain, toy).ended.kind == "prepared"
    assert eventually(lambda: not marked(mark))


def test_a_killed_engine_at_the_other_end_is_one_sentence(host: Host, brain: Image, toy: Path) -> None:
    with opened(engine_command(host.command(remote_command()))) as door:
        door.prepare(brain, toy)
        asked = door.start("infer", {"key": "one"})
        door.until(lambda: bool(asked.all("step")))
        os.kill(door.client.engine["pid"], 9)
        assert door.client.wait(LONGEST_SECONDS)
        assert asked.sentence.startswith("The engine ended unexpectedly")
        assert door.ask("hello").ended.kind == "hello"


def test_what_the_server_says_is_passed_on(host: Host) -> None:
    with opened(engine_command(host.command("true", host.key.with_name("stranger")))) as door:
        assert "Permission denied" in door.ask("hello").sentence
    with opened(engine_command(host.command("/nowhere/itermask3d serve"))) as door:
        assert "/nowhere/itermask3d" in door.ask("hello").sentence
    with opened(engine_command(host.command(f"echo Welcome to this computer; {remote_command()}"))) as door:
        assert "Welcome to this computer" in door.ask("hello").sentence
