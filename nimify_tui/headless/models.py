"""`nimify-tui analyze`: what is in model files."""

from __future__ import annotations

import argparse

from nimify_tui.base.errors import ModelError
from nimify_tui.domain.models import ModelReport
from nimify_tui.headless.output import emit, say
from nimify_tui.session import analyse_model


def analyze(options: argparse.Namespace) -> int:
    """0 when every file can be served here, 1 when one cannot."""
    reports: list[ModelReport] = []
    failed = False
    for path in options.path:
        try:
            reports.append(analyse_model(path))
        except ModelError as error:
            failed = True
            say(str(error))
    rows = [line for report in reports for line in _lines(report)]
    emit(options.output, reports, ("FILE", "WHAT", ""), rows, [report.path for report in reports])
    return 1 if failed or not all(report.deployable for report in reports) else 0


def _lines(report: ModelReport) -> list[list[str]]:
    facts = [("format", report.format), ("size", f"{report.size_bytes} bytes"), ("sha256", report.sha256)]
    facts += [("producer", report.producer), ("verdict", str(report.verdict or "not read by this version"))]
    facts += [("parameters", "" if report.parameters is None else str(report.parameters))]
    for label, tensors in (("input", report.inputs), ("output", report.outputs)):
        facts += [(label, f"{item.name} {item.dtype} {_shape(item.shape)}") for item in tensors]
    if report.batchable is not None:
        facts.append(("batchable", f"{'yes' if report.batchable else 'no'} (a guess): {report.batch_reason}"))
    facts += [(str(finding.level), finding.text) for finding in report.findings]
    facts += [("not checked", text) for text in report.not_checked]
    return [
        [report.path if index == 0 else "", *fact]
        for index, fact in enumerate(fact for fact in facts if fact[1])
    ]


def _shape(shape: tuple[int | str | None, ...] | None) -> str:
    if shape is None:
        return "(shape not said)"
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
