"""The engine as a process of its own: it speaks `core.wire` over stdin and stdout, here or on another computer.

Nothing heavy is imported before a request needs it, so that it answers at once, also where packages are missing.
"""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Serves one door until that closes its end of the wire. Returns 2 where stdin is a terminal, and else never."""
    if os.isatty(0):
        print("error: `itermask3d serve` is started by programs, which speak to it; it has no prompt.", file=sys.stderr)
        return 2
    from IterMask3DLib.serve.channel import Channel
    from IterMask3DLib.serve.engine import Engine

    Engine(Channel.of_this_process()).serve()
