"""The runtime inside its image: its arguments lie beside the model, further ones may follow on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from nimify_tui.base.errors import ConfigurationError
from nimify_tui.serving.main import EXIT_FAILED, run_as_program

_MAX_BYTES = 64 * 1024


def arguments(path: Path) -> list[str]:
    """The arguments of `nimify-tui serve` in a JSON list of words. Raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} holds no arguments: {error}", "build the image anew") from error
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise ConfigurationError(f"{path} is no list of words", "build the image anew")
    return found


if __name__ == "__main__":
    try:
        sys.argv[1:] = [*arguments(Path(sys.argv[1])), *sys.argv[2:]]
    except ConfigurationError as error:
        sys.exit(f"{error} (exit {EXIT_FAILED})")
    run_as_program()
