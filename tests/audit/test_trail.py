"""The audit trail: what was written can be read back, and what was done to it afterwards is found."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nimify_tui.base import audit as audit_module
from nimify_tui.base.audit import AuditDamaged, AuditLog, AuditPlaces, canonical, seal, segments
from nimify_tui.base.audit_check import AuditReport, verify
from nimify_tui.base.clock import ManualClock
from nimify_tui.base.errors import SecurityError, ValidationError
from tests.support import PYTHON, REPO


def places(folder: Path) -> AuditPlaces:
    return AuditPlaces(folder / "audit", folder / "key", folder / "anchor.json")


def trail(folder: Path, records: int = 12, segment_bytes: int = 1200) -> AuditPlaces:
    log = AuditLog(places(folder), ManualClock(), segment_bytes)
    for number in range(records):
        log.append("test", {"number": number})
    return places(folder)


def all_lines(where: AuditPlaces) -> list[tuple[Path, int, bytes]]:
    return [
        (path, index, line)
        for _, path in segments(where.folder)
        for index, line in enumerate(path.read_bytes().splitlines(keepends=True))
    ]


def rewrite(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def test_a_trail_reads_back_in_order_and_is_intact(tmp_path: Path) -> None:
    where = trail(tmp_path)
    report = verify(where)
    assert report.intact
    assert not report.notices
    assert report.segments > 2
    numbers = [r["number"] for r in AuditLog(where, ManualClock()).records() if r["type"] == "test"]
    assert numbers == list(range(12))
    assert [r["seq"] for r in AuditLog(where, ManualClock()).records()] == list(range(1, report.records + 1))


def test_segments_open_with_the_head_before_and_close_with_their_count(tmp_path: Path) -> None:
    found = segments(trail(tmp_path).folder)
    previous = None
    for _, path in found:
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        assert lines[0]["type"] == "segment.open"
        if previous is not None:
            assert lines[0]["prev_head"] == previous["hash"]
            assert lines[0]["prev_seq"] == previous["seq"]
            assert previous["type"] == "segment.close"
        previous = lines[-1]
        assert list(lines[-1]) == sorted(lines[-1])


def test_only_the_user_can_read_any_of_it(tmp_path: Path) -> None:
    where = trail(tmp_path)
    for path in (where.key, where.anchor, *(path for _, path in segments(where.folder))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(where.folder.stat().st_mode) == 0o700
    where.key.chmod(0o640)
    with pytest.raises(SecurityError, match="read by others"):
        verify(where)
    with pytest.raises(SecurityError, match="read by others"):
        AuditLog(where, ManualClock()).append("test", {})


def middle(where: AuditPlaces) -> Path:
    return segments(where.folder)[1][1]


def edit(where: AuditPlaces) -> None:
    rewrite(
        middle(where), lambda lines: [lines[0], lines[1].replace(b'"number":', b'"number":9'), *lines[2:]]
    )


def delete_line(where: AuditPlaces) -> None:
    rewrite(middle(where), lambda lines: [lines[0], *lines[2:]])


def swap(where: AuditPlaces) -> None:
    rewrite(middle(where), lambda lines: [lines[0], lines[2], lines[1], *lines[3:]])


def repeat(where: AuditPlaces) -> None:
    rewrite(middle(where), lambda lines: [*lines[:2], lines[1], *lines[2:]])


def delete_segment(where: AuditPlaces) -> None:
    middle(where).unlink()


def delete_first_segment(where: AuditPlaces) -> None:
    segments(where.folder)[0][1].unlink()


def cut_tail(where: AuditPlaces) -> None:
    rewrite(segments(where.folder)[-1][1], lambda lines: lines[:-1])


def delete_last_segment(where: AuditPlaces) -> None:
    segments(where.folder)[-1][1].unlink()


def delete_everything(where: AuditPlaces) -> None:
    for _, path in segments(where.folder):
        path.unlink()


def reformat(where: AuditPlaces) -> None:
    rewrite(middle(where), lambda lines: [lines[0], lines[1].replace(b'":', b'": ', 1), *lines[2:]])


def duplicate_key(where: AuditPlaces) -> None:
    rewrite(middle(where), lambda lines: [lines[0], b'{"number":1,' + lines[1][1:], *lines[2:]])


def garbage(where: AuditPlaces) -> None:
    rewrite(middle(where), lambda lines: [lines[0], b"nonsense\n", *lines[2:]])


def write_anew(where: AuditPlaces) -> None:
    """The whole chain recomputed by somebody who has the key, with one record less."""
    key = audit_module.read_key(where.key)
    assert key is not None
    records = [json.loads(line) for _, _, line in all_lines(where)]
    del records[3]
    delete_everything(where)
    previous, lines = audit_module.GENESIS, []
    for number, record in enumerate(records, start=1):
        record = {**record, "seq": number, "prev": previous}
        record["hash"] = previous = seal(key, record)
        lines.append(canonical(record) + b"\n")
    (where.folder / "audit-000001.jsonl").write_bytes(b"".join(lines))


ATTACKS: list[tuple[Callable[[AuditPlaces], None], str]] = [
    (edit, "was changed"),
    (delete_line, "are missing"),
    (swap, "moved, repeated or inserted"),
    (repeat, "moved, repeated or inserted"),
    (delete_segment, "segment 2 is missing"),
    (delete_first_segment, "segment 1 is missing"),
    (cut_tail, "the tail is missing"),
    (delete_last_segment, "the tail is missing"),
    (delete_everything, "the whole trail is missing"),
    (reformat, "was changed"),
    (duplicate_key, "was changed"),
    (garbage, "not an audit record"),
    (write_anew, "the tail is missing"),
]


def assert_found(report: AuditReport, words: str) -> None:
    texts = [f"{problem.file}:{problem.line} {problem.text}" for problem in report.problems]
    assert any(words in text for text in texts), texts


@pytest.mark.parametrize(("attack", "words"), ATTACKS, ids=lambda item: getattr(item, "__name__", ""))
def test_each_attack_is_found_and_named(
    tmp_path: Path, attack: Callable[[AuditPlaces], None], words: str
) -> None:
    where = trail(tmp_path)
    attack(where)
    assert_found(verify(where), words)


@pytest.mark.parametrize("attack", [edit, cut_tail])
def test_sabotage_without_seal_and_anchor_the_attacks_go_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: Callable[[AuditPlaces], None]
) -> None:
    """The same check with each protection taken away must fail, so it is the protection that finds the attack."""
    where = trail(tmp_path)
    attack(where)
    if attack is edit:
        monkeypatch.setattr("nimify_tui.base.audit_check.hmac.compare_digest", lambda *_: True)
        words = "was changed"
    else:
        where.anchor.unlink()
        words = "tail is missing"
    with pytest.raises(AssertionError):
        assert_found(verify(where), words)


def test_one_edited_line_is_one_problem_with_file_and_line(tmp_path: Path) -> None:
    where = trail(tmp_path)
    edit(where)
    report = verify(where)
    assert report.problem_count == 1
    assert (report.problems[0].file, report.problems[0].line) == ("audit-000002.jsonl", 2)


def test_a_trail_without_anchor_says_what_it_cannot_tell(tmp_path: Path) -> None:
    where = trail(tmp_path)
    where.anchor.unlink()
    report = verify(where)
    assert report.intact
    assert "no anchor" in report.notices[0].text


@pytest.mark.parametrize("keep", [1, 20, -1])
def test_a_torn_last_line_is_no_tampering_and_is_repaired_with_a_record(tmp_path: Path, keep: int) -> None:
    where = trail(tmp_path, records=3, segment_bytes=100_000)
    path = segments(where.folder)[-1][1]
    *whole, last = path.read_bytes().splitlines(keepends=True)
    log = AuditLog(where, ManualClock())
    path.write_bytes(b"".join([*whole, last]) + last[:keep])
    report = verify(where)
    assert report.intact
    assert "torn last line" in report.notices[0].text
    log.append("test", {"after": True})
    report = verify(where)
    assert report.intact, report.problems
    assert len(report.notices) == 1
    recovered = [record for record in log.records() if record["type"] == "recovered"]
    assert recovered[0]["truncated_bytes"] == len(last[:keep])


def test_a_tail_that_was_cut_stays_on_record_when_writing_goes_on(tmp_path: Path) -> None:
    where = trail(tmp_path)
    cut_tail(where)
    AuditLog(where, ManualClock()).append("test", {"later": True})
    assert_found(verify(where), "its tail was cut")


def test_a_torn_first_line_of_a_new_segment_is_repaired(tmp_path: Path) -> None:
    where = trail(tmp_path, records=3, segment_bytes=10)  # every record closes its segment
    log = AuditLog(where, ManualClock(), 10)
    newest = segments(where.folder)[-1][1]
    newest.write_bytes(newest.read_bytes()[:17])
    where.anchor.unlink()
    log.append("test", {"after": True})
    report = verify(where)
    assert report.intact, report.problems
    assert any("17 bytes" in notice.text for notice in report.notices)


def test_an_edited_last_line_stops_the_writer(tmp_path: Path) -> None:
    where = trail(tmp_path)
    path = segments(where.folder)[-1][1]
    rewrite(path, lambda lines: [*lines[:-1], lines[-1].replace(b'"number":', b'"number":9')])
    with pytest.raises(AuditDamaged, match="does not carry our seal"):
        AuditLog(where, ManualClock()).append("test", {})


def test_a_lost_key_stops_the_writer_and_is_never_replaced(tmp_path: Path) -> None:
    where = trail(tmp_path)
    where.key.unlink()
    with pytest.raises(AuditDamaged, match=r"key .* is missing"):
        AuditLog(where, ManualClock()).append("test", {})
    assert not where.key.exists()


SECRETS = {"password": "hunter2hunter2", "note": "token=abcdef123456", "deep": [{"api_key": "k-12345678"}]}


def leaks(where: AuditPlaces) -> bool:
    text = b"".join(line for _, _, line in all_lines(where))
    return any(secret in text for secret in (b"hunter2hunter2", b"abcdef123456", b"k-12345678"))


def test_credentials_never_reach_the_file(tmp_path: Path) -> None:
    AuditLog(places(tmp_path), ManualClock()).append("test", SECRETS)
    assert not leaks(places(tmp_path))


def test_sabotage_without_redaction_the_leak_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "redacted", lambda value: value)
    AuditLog(places(tmp_path), ManualClock()).append("test", SECRETS)
    assert leaks(places(tmp_path))


def test_reserved_names_and_giants_are_refused(tmp_path: Path) -> None:
    log = AuditLog(places(tmp_path), ManualClock())
    with pytest.raises(ValidationError, match="reserved"):
        log.append("test", {"hash": "x"})
    with pytest.raises(ValidationError, match="too big"):
        log.append("test", {"text": "x" * 2_000_000})
    log.append("test", {"text": "y"})
    assert verify(places(tmp_path)).intact


WRITER = """
import sys, pathlib
from nimify_tui.base.audit import AuditLog, AuditPlaces
from nimify_tui.base.clock import SystemClock
folder = pathlib.Path(sys.argv[1])
log = AuditLog(AuditPlaces(folder / "audit", folder / "key", folder / "anchor.json"), SystemClock(), 4000)
for number in range(40):
    log.append("test", {"writer": sys.argv[2], "number": number})
"""


def test_three_consoles_at_once_make_one_unbroken_chain(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    writers = [
        subprocess.Popen([PYTHON, "-c", WRITER, str(tmp_path), name], env=env, stderr=subprocess.PIPE)
        for name in "abc"
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors.decode()
    where = places(tmp_path)
    report = verify(where)
    assert report.intact, report.problems[:3]
    found = [r for r in AuditLog(where, ManualClock()).records() if r["type"] == "test"]
    assert len(found) == 120
    for name in "abc":
        assert [r["number"] for r in found if r["writer"] == name] == list(range(40))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_single_byte_can_be_changed_unseen(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    where = trail(tmp_path_factory.mktemp("t"), records=4, segment_bytes=700)
    files = [path for _, path in segments(where.folder)]
    path = data.draw(st.sampled_from(files))
    raw = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(raw))
    report = verify(where)
    # The very last newline may be lost to a crash as well: that reads as a torn line, and the anchor tells.
    assert not report.intact
