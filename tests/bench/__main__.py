"""``python -m tests.bench [NAME...]``: measure, print the table, write JSON; exit code 1 when a bar is missed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.bench.harness import BENCHES, HEAVY, TIMES, Result, markdown, measure, table, write_json


def main(argv: list[str] | None = None) -> int:
    """Run the chosen benchmarks (all by default)."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(BENCHES)}; by default all but {', '.join(HEAVY)}")
    parser.add_argument("--all", action="store_true", help="the heavy ones, too")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), metavar="PATH")
    parser.add_argument("--markdown", action="store_true", help="print the README's table")
    parser.add_argument(
        "--counts-gate",
        action="store_true",
        help="a missed time is told and does not fail, what measures times alone is left out: for a machine with "
        "other work",
    )
    options = parser.parse_args(argv)
    if unknown := set(options.name) - set(BENCHES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    results = []
    unasked = () if options.all else (*HEAVY, *(TIMES if options.counts_gate else ()))
    for name in options.name or [each for each in BENCHES if each not in unasked]:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        results += measure(name)
    print(markdown(results) if options.markdown else table(results))
    write_json(results, options.json)
    judged = [each for each in results if not each.skipped]
    gating = [each for each in judged if not (options.counts_gate and is_time(each))]
    for each in judged:
        if not each.passed and each not in gating:
            print(f"missed, and not gating here: {each.name}", file=sys.stderr)
    return 0 if results and all(each.passed for each in gating) else 1


def is_time(result: Result) -> bool:
    """Whether a result depends on what else the machine does (a time, a ratio of times): bytes do not."""
    return result.unit in ("ms", "s", "x", "% of a core") or result.unit.endswith(" of CPU")


if __name__ == "__main__":
    sys.exit(main())
