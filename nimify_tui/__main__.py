"""`python -m nimify_tui` is the same program as the installed `nimify-tui`."""

import sys

from nimify_tui.cli import main

if __name__ == "__main__":
    sys.exit(main())
