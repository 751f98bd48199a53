"""The command `itermask3d`, as a module: `python -m IterMask3DLib.cli`."""

import sys

from IterMask3DLib.cli import main

if __name__ == "__main__":
    sys.exit(main())
