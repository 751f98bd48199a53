"""The command `itermask3d`.

Next to nothing is imported here, so that from the first moment on whatever ends it is one line.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from IterMask3DLib.cli.streams import standard_streams

_INTERRUPTED = "interrupted; nothing was written for the case at hand."
_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0 when done, 1 after an `error: …` line; usage errors leave through argparse with 2."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words == ["serve"]:
        # It alone decides what its streams and signals are.
        from IterMask3DLib.serve import main as serve

        return serve()
    with standard_streams() as streams, warnings.catch_warnings():
        if not sys.warnoptions:
            # Those of libraries are for programmers; what a user is to know is said in a sentence.
            warnings.simplefilter("ignore")
        code = _run(words)
        sys.stdout.flush()
        if streams.failure is not None:
            _say(f"not everything could be printed ({streams.failure}).")
        return 1 if streams.failure is not None or streams.closed else code


def _run(words: Sequence[str]) -> int:
    folder: Path | None = None
    try:
        with _signals(_end_at_once):
            # Imported here: what is imported while it is interrupted leaves tracebacks of many kinds.
            from IterMask3DLib.cli.parser import parse

            parsed = parse(words)
            folder = parsed.log_folder(parsed) if hasattr(parsed, "log_folder") else None
            work = parsed.load(parsed)
        with _signals(_interrupt):
            return work()
    except KeyboardInterrupt:
        _say(_INTERRUPTED)
    except Exception as error:
        from IterMask3DLib.core.failures import explained, is_interrupt

        _say(_INTERRUPTED if is_interrupt(error) else explained(error, folder or _own_folder()))
    return 1


def _own_folder() -> Path | None:
    """Where the log of a command goes that writes into no folder."""
    try:
        import platformdirs

        return platformdirs.user_log_path("itermask3d")
    except (ImportError, RuntimeError):
        return None


def _say(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    try:
        os.write(2, f"error: {_INTERRUPTED}\n".encode())
    finally:
        os._exit(1)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _signals(handler: object) -> Iterator[None]:
    """Handles the signals that ask a program to end, but those that it was started to ignore."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for each in _ENDING:
            if signal.getsignal(each) != signal.SIG_IGN:
                before[each] = signal.signal(each, handler)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for each, earlier in before.items():
            signal.signal(each, earlier)
