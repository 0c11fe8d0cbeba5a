"""`nimify-tui rules`: the alert rules for a Prometheus."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nimify_tui.artifacts import objectives
from nimify_tui.artifacts.alerting import rules_text, unit_tests_text
from nimify_tui.base.errors import ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.headless.output import say
from nimify_tui.wanted import read_config


def export(options: argparse.Namespace) -> int:
    """The rule file, or with ``--tests`` its unit tests, to stdout or into a file.

    With the configuration's objectives: what services tell of theirs would need them to be seen.
    """
    slos = read_config(options).slos
    for name in (each.service for each in slos if not objectives.nameable(each)):
        say(f"without the objective of {clean_line(name, 80)!r}: a job's name has a slash only after its namespace")
    exported = objectives.exported(slos)
    text = unit_tests_text(options.rules_file, exported) if options.tests else rules_text(exported)
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
