"""The load does what it says: as many events as it reports, about the rows that it names."""

from __future__ import annotations

import contextlib
import json
import socket

import msgspec

from nimify_tui.domain.embedded import Event, Hello, Listed, ReplicaEvent, Reply, Watch
from tests.bench.loaded import Load
from tests.support import Home

MESSAGES = msgspec.json.Decoder(Reply | Event)


def test_what_is_reported_as_sent_arrives(home: Home) -> None:
    with contextlib.closing(Load(home)) as load, contextlib.ExitStack() as sockets:
        lines = []
        facts: dict[str, str] = {}
        for path in sorted((home.runtime / "nimify-tui" / "regions").glob("*.json")):
            facts = json.loads(path.read_text(encoding="utf-8"))
            assert facts["name"] == path.stem
            assert len(facts["socket"]) < 100
            peer = sockets.enter_context(socket.socket(socket.AF_UNIX))
            peer.settimeout(10)
            peer.connect(facts["socket"])
            file = sockets.enter_context(peer.makefile("rwb"))
            for request in (Hello(id=1, client="test"), Watch(id=2)):
                file.write(msgspec.json.encode(request) + b"\n")
            file.flush()
            greeting = [MESSAGES.decode(file.readline()) for _ in range(3)]
            assert [type(each) for each in greeting] == [Reply, Reply, Listed]
            lines.append(file)
        assert len(lines) == 6
        load.start(3000, 300, 0.5)
        account = load.wait()
        load.close()
        events = [MESSAGES.decode(line) for file in lines for line in file]
    changes = [each for each in events if isinstance(each, ReplicaEvent)]
    assert len(changes) == account["sent"] >= 1400
    hot = [each for each in changes if each.key.service.name.startswith("hot-")]
    assert len(hot) == account["hot"] >= 140
    assert {each.replica.state for each in hot if each.replica is not None} == {"READY", "NOT_READY"}
