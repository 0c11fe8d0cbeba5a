"""Keeps the slow model of :mod:`tests.bench.serving_load` busy: ``... PORT SECONDS``; prints what came of it."""

from __future__ import annotations

import json
import sys

from tests.bench.serving_load import slow_question
from tests.bench.wrk import load

if __name__ == "__main__":
    found = load(int(sys.argv[1]), slow_question(), seconds=float(sys.argv[2]), connections=8)
    print(json.dumps({"requests": found.requests, "errors": found.errors}))
