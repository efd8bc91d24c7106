"""`python -m pyrovae` is the command `pyrovae`."""

import sys

from pyrovae.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
