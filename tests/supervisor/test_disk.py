"""What is on disk: bounded, readable after a crash, and one broken service never takes the others down."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from nimify_tui.base.errors import InternalError
from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.embedded import ChangeEvent, Event, SecurityFound
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.services import Limits, ReplicaState, Revision, ServiceSpec
from nimify_tui.supervisor import changes
from nimify_tui.supervisor.changes import Chronicle
from nimify_tui.supervisor.command import Handed, replica_command
from nimify_tui.supervisor.disk import ServiceFolder
from nimify_tui.supervisor.library import KEEP_UNUSED_S, Library
from nimify_tui.supervisor.logs import last_words, prune_gone
from nimify_tui.supervisor.operations import difference
from tests.supervisor.support import Region
from tests.support import Home

KEY = ServiceKey("test", "demo")


def chronicle(root: Path) -> tuple[Chronicle, list[Event]]:
    """One that keeps what it tells."""
    told: list[Event] = []
    made = Chronicle(root / "changes.jsonl", "test", told.append)
    made.load()
    return made, told


def test_changes_are_kept_bounded_and_survive_a_torn_line(tmp_path: Path) -> None:
    first, _ = chronicle(tmp_path)
    for number in range(3 * changes.KEEP):
        first.change(ChangeKind.SCALE, KEY, f"change {number}")
    path = tmp_path / "changes.jsonl"
    assert len(path.read_bytes().splitlines()) <= 2 * changes.KEEP
    with open(path, "ab") as file:
        file.write(b'{"id": "torn')
    second, told = chronicle(tmp_path)
    assert len(second.newest) == changes.KEEP
    assert second.newest[-1].text == f"change {3 * changes.KEEP - 1}"
    second.change(ChangeKind.SCALE, KEY, "after")
    assert [event.change.text for event in told if isinstance(event, ChangeEvent)] == ["after"]
    ids = [change.id for change in second.newest]
    assert len(set(ids)) == len(ids)


def test_repeats_of_a_security_event_are_one_event_with_a_count(tmp_path: Path) -> None:
    made, told = chronicle(tmp_path)
    hostile = {"event": "security", "category": "x" * 500, "client": "\x1b[31mred", "msg": "a\nb", "count": 10**30}
    for _ in range(1000):
        made.reported(KEY, {"event": "security", "category": "limited", "client": "10.0.0.1", "count": 2})
    made.retell()
    found = [event.event for event in told if isinstance(event, SecurityFound)]
    assert len(found) == 2, "told at once, and once more with the count"
    assert found[-1].count == 2000
    made.reported(KEY, hostile)
    assert "\x1b" not in made.security[-1].client
    assert len(made.security[-1].category) <= 24
    assert made.security[-1].count == 1
    for number in range(1000):
        made.reported(KEY, {"event": "security", "category": "limited", "client": f"10.0.1.{number}"})
    assert len(made.security) == changes.KEEP_SECURITY


def test_a_revision_is_written_once_and_never_again(tmp_path: Path) -> None:
    folder = ServiceFolder(tmp_path, "demo")
    folder.create()
    revision = Revision(number=1, created_at=1.0, created_by="ops@test", spec=ServiceSpec(model_path="/m"))
    folder.write_revision(revision)
    with pytest.raises(InternalError, match="revision 1 of demo exists already"):
        folder.write_revision(revision)
    assert folder.read_revisions() == [revision]


def test_a_model_without_a_name_is_kept_for_a_day(tmp_path: Path) -> None:
    library = Library(tmp_path, 10_000)
    taken = []
    for number in range(3):
        source = tmp_path / f"{number}.onnx"
        source.write_bytes(b"%d" % number * 100)
        taken.append(library.take(str(source), ""))
    used, fresh, old = taken
    for sha256 in (used, old):
        os.utime(library.path(sha256), (1.0, 1.0))
    cut_short = library.folder / ".taking.abc"
    cut_short.write_bytes(b"")
    os.utime(cut_short, (1.0, 1.0))
    library.sweep({used})
    assert [library.path(sha256).exists() for sha256 in (used, fresh, old)] == [True, True, False]
    assert not cut_short.exists()
    assert KEEP_UNUSED_S >= 24 * 3600
    assert library.take("/nowhere", used) == used, "what is kept needs no source"


def test_a_service_that_cannot_be_read_is_told_and_the_others_run(home: Home) -> None:
    with Region(home) as region:
        with region.wire() as wire:
            wire.settled(wire.apply("good", spec=region.spec(), replicas=1), "good")
            wire.settled(wire.apply("bad", spec=region.spec(), replicas=0), "bad")
        region.kill()
        note = region.state_dir / "bad" / "desired.json"
        note.write_bytes(b"{")
        region.start()
        with region.wire() as wire:
            assert set(wire.services) == {"good"}
            assert wire.replica(ReplicaState.READY).key.service.name == "good"
            assert "service bad is left alone" in wire.change_of(ChangeKind.CONFIG).text
        assert note.read_bytes() == b"{", "nothing is repaired by guessing"


def test_last_words_are_the_last_that_say_anything(tmp_path: Path) -> None:
    log = tmp_path / "demo-1.1.log"
    assert last_words(log) == ""
    log.write_bytes(
        b'{"msg":"first"}\n{"msg":"model ' + b"ab" * 32 + b' is bad","event":"failed"}\n\n  \n'
        b'{"msg":"answered with an error","status":503,"path":"/v2/health/ready"}\n'
    )
    assert last_words(log) == "model abababab is bad"
    log.write_bytes(b"Traceback\nMemoryError: \x1b[31mno room\npassword=hunter2\n")
    assert last_words(log) == "password=•••"
    log.write_bytes(b"x" * 10_000_000)
    assert len(last_words(log)) <= 300


def test_logs_of_replicas_that_are_gone_are_bounded(tmp_path: Path) -> None:
    for number in range(40):
        path = tmp_path / f"demo-{number}.1.log"
        path.write_bytes(b"x")
        os.utime(path, (1000.0 + number, 1000.0 + number))
    prune_gone(tmp_path, {"demo-0"})
    left = sorted(int(path.name.split(".")[0][5:]) for path in tmp_path.iterdir())
    assert left == [0, *range(28, 40)]


def test_a_difference_is_said_in_words() -> None:
    old = ServiceSpec(model_path="/a", model_sha256="1" * 64)
    limits = msgspec.structs.replace(old.limits, max_queue=64)
    new = msgspec.structs.replace(old, model_sha256="2" * 64, limits=limits, arguments=("--x",), labels={"a": "b"})
    assert difference(old, new) == (
        "model sha256 11111111 -> 22222222, max_queue 256 -> 64, arguments none -> --x, labels"
    )
    assert difference(old, old) == "the same content"


def test_a_revision_of_before_there_were_caches_loads_and_starts_as_before(tmp_path: Path) -> None:
    folder = ServiceFolder(tmp_path, "demo")
    folder.create()
    limits = b'{"max_body_bytes":1000,"request_timeout_s":5.0,"threads":2}'
    spec = b'{"model_path":"/a","model_sha256":"11","limits":' + limits + b',"arguments":["--provider","cpu"]}'
    content = b'{"number":1,"created_at":1.0,"created_by":"ops","spec":' + spec + b"}"
    (folder.path / "revisions" / "1.json").write_bytes(content)
    (revision,) = folder.read_revisions()
    handed = Handed(Path("/a"), 3, 4, "/c", 5.0, Path("/graphs"))
    command = replica_command(KEY, 1, revision.spec, handed)
    assert command[-4:] == ["--drain-timeout-s", "5", "--provider", "cpu"]
    assert not [word for word in command if "cache" in word]


def test_a_difference_of_caches_is_said_in_whole_bytes() -> None:
    old = ServiceSpec(model_path="/a")
    new = msgspec.structs.replace(old, limits=Limits(cache_bytes=2**26, artifact_cache_bytes=2**31))
    assert difference(old, new) == "cache_bytes 0 -> 67108864, artifact_cache_bytes 0 -> 2147483648"
