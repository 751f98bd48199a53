"""`python -m IterMask3DLib.serve`."""

import sys

from IterMask3DLib.serve import main

sys.exit(main())
