"""`python -m nimify_tui.supervisor` keeps one embedded region."""

import sys

from nimify_tui.supervisor.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
