"""`python -m nimify_tui.serving` is `nimify-tui serve`."""

from nimify_tui.serving.main import run_as_program

if __name__ == "__main__":
    run_as_program()
