"""`nimify-tui rules`: the alert rules for a Prometheus."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nimify_tui.artifacts.alerting import rules_text, unit_tests_text
from nimify_tui.base.errors import ValidationError
from nimify_tui.headless.output import say


def export(options: argparse.Namespace) -> int:
    """The rule file, or with ``--tests`` its unit tests, to stdout or into a file."""
    text = unit_tests_text(options.rules_file) if options.tests else rules_text()
    if options.file in ("", "-"):
        sys.stdout.write(text)
        return 0
    try:
        Path(options.file).write_text(text, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValidationError(f"cannot write {options.file}: {reason}", "name a file that can be written") from error
    say(f"written to {options.file}")
    return 0
