"""What a healthy start leaves in a replica's log: nothing that reads like a failure."""

from __future__ import annotations

import json
from pathlib import Path

from nimify_tui.domain.services import ServiceSpec
from tests.models_factory import slow
from tests.supervisor.support import Region
from tests.support import Home


def complaints(path: Path) -> list[str]:
    """The lines of a log that call themselves an error."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("{") and json.loads(line)["level"] == "error"]


def test_probes_of_a_model_that_still_loads_are_no_errors(home: Home) -> None:
    """A model of 16 MB loads for longer than the supervisor's probes are apart.

    Sabotage: with ``Api._answer`` noting every 5xx, each start wrote a line of level error for each second of it.
    """
    with Region(home) as region, region.wire() as wire:
        model = region.models / "large.onnx"
        model.write_bytes(slow(4, 2048))
        wire.settled(wire.apply(spec=ServiceSpec(model_path=str(model)), replicas=1))
        [log] = map(Path, wire.log_paths("demo-1"))
        assert '"event":"ready"' in log.read_text(encoding="utf-8")
        assert complaints(log) == []
