"""`python -m semievol` is the program `semievol`."""

import sys

from semievol.cli import main

if __name__ == "__main__":
    sys.exit(main())
