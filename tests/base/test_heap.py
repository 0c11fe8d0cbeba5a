"""Large blocks go back to the system when they are free."""

from __future__ import annotations

import platform

from tests.support import run_python

CODE = """
import sys
from pathlib import Path
from nimify_tui.base.heap import keep_large_blocks_apart

def rss():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "apart":
    assert keep_large_blocks_apart()
kept = []
before = rss()
for turn in range(40):
    page = [bytes(3_000_000) for _ in range(6)]
    kept += [b"x" * 600 for _ in range(200)]
    del page
print(rss() - before)
"""


def grown(how: str) -> int:
    done = run_python("-c", CODE, how)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_pages_that_come_and_go_leave_no_holes() -> None:
    """Pages of 3 MB with 5 MB between them that stay. Without it (the second run) more is held."""
    apart = grown("apart")
    assert apart < 12_000_000
    if platform.libc_ver()[0] == "glibc":
        assert grown("as it is") > apart
