"""The real console with a gauge: on SIGUSR1 it writes what its store has applied and what its screen has drawn.

Nothing in the console is replaced; the gauge looks for the two objects when it is asked.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from pathlib import Path


def tell(*_: object) -> None:
    """Write ``applied``, ``bytes``, ``deferred`` and resident memory to ``$GAUGE_TO``."""
    from nimify_tui.fleet.store import Fleet
    from nimify_tui.ui.frugal import FrugalApp

    found: dict[str, float] = {"applied": 0, "bytes": 0, "deferred": 0}
    gc.unfreeze()  # what is set aside from collections is not listed
    listed = gc.get_objects()
    gc.freeze()  # as the console had it
    for each in listed:
        if isinstance(each, Fleet):
            found["applied"] += each.frame.applied
        elif isinstance(each, FrugalApp) and each.meter is not None:
            found["bytes"] += each.meter.bytes_written
            found["deferred"] += each.frames_deferred
    del listed
    found["rss_mb"] = round(int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6, 1)
    to = Path(os.environ["GAUGE_TO"])
    to.with_suffix(".new").write_text(json.dumps(found), encoding="utf-8")
    to.with_suffix(".new").rename(to)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, tell)
    from nimify_tui.cli import main

    sys.exit(main(sys.argv[1:]))
