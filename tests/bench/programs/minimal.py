"""The least a Textual program can be: the yardstick for start-up."""

from textual.app import App, ComposeResult
from textual.widgets import Static

MARKER = "minimal is ready"


class Minimal(App[None]):
    """One line of text."""

    def compose(self) -> ComposeResult:
        yield Static(MARKER)


if __name__ == "__main__":
    Minimal().run()
