"""`python -m mlcmr`."""

import sys

from mlcmr.cli import main

sys.exit(main())
