"""What an operator sees of a runtime: metrics, logs, request ids, the diagnostic page."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nimify_tui.serving import logs
from nimify_tui.serving.logs import JsonLog
from nimify_tui.serving.metrics import BOUNDS_S
from tests import models_factory
from tests.hostile import CORPUS
from tests.serving.servers import Server, running, tensor, until

ROW = {"inputs": [tensor("x", [1, 8], "FP32", [0.5] * 8)]}


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """Named as the supervisor names it, with a cache."""
    arguments = ["--service", "sentiment", "--region", "eu-west-1", "--revision", "7", "--cache-bytes", "100000"]
    with running(models_factory.mlp((8, 16, 4)), *arguments) as server:
        yield server


#: Name: type, labels. Fixed for the product; may grow.
FAMILIES = {
    "nimify_inference_requests": ("counter", {"model", "version", "code"}),
    "nimify_inference_request_duration_seconds": ("histogram", {"model", "version"}),
    "nimify_inference_queue_duration_seconds": ("histogram", {"model", "version"}),
    "nimify_inference_compute_duration_seconds": ("histogram", {"model", "version"}),
    "nimify_inference_batch_size": ("histogram", {"model", "version"}),
    "nimify_inference_requests_in_flight": ("gauge", {"model", "version"}),
    "nimify_inference_queue_requests": ("gauge", {"model", "version"}),
    "nimify_requests_rejected": ("counter", {"reason"}),
    "nimify_cache_requests": ("counter", {"tier", "result"}),
    "nimify_cache_bytes": ("gauge", {"tier"}),
    "nimify_cache_evictions": ("counter", {"reason"}),
    "nimify_security_events": ("counter", {"category", "action"}),
    "nimify_model_load_duration_seconds": ("gauge", {"model", "version"}),
    "nimify_build_info": ("gauge", {"version", "revision", "model_sha256"}),
    "process_cpu_seconds": ("counter", set()),
    "process_resident_memory_bytes": ("gauge", set()),
    "process_start_time_seconds": ("gauge", set()),
    "process_open_fds": ("gauge", set()),
}


def test_metric_families_have_their_fixed_names_types_and_labels(own: Server) -> None:
    own.infer(ROW)
    own.infer(b"{")
    answer = own.ask("GET", "/metrics", admin=True)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    for name, (kind, labels) in FAMILIES.items():
        family = families[name]
        assert family.type == kind, name
        assert family.documentation or name.startswith("process_")
        assert family.samples, name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == labels, sample
    build = families["nimify_build_info"].samples[0]
    assert build.value == 1
    assert build.labels["revision"] == "7"
    assert re.fullmatch("[0-9a-f]{64}", build.labels["model_sha256"])
    assert families["nimify_model_load_duration_seconds"].samples[0].value > 0


def test_histograms_are_whole(own: Server) -> None:
    own.infer(ROW)
    for family in text_string_to_metric_families(own.ask("GET", "/metrics", admin=True).body.decode()):
        if family.type != "histogram":
            continue
        buckets = [(float(s.labels["le"]), s.value) for s in family.samples if s.name.endswith("_bucket")]
        count = next(s.value for s in family.samples if s.name.endswith("_count"))
        assert [bound for bound, _ in buckets] == sorted(bound for bound, _ in buckets)
        assert [value for _, value in buckets] == sorted(value for _, value in buckets)
        assert buckets[-1] == (math.inf, count)
        if family.name.endswith("_seconds"):
            assert tuple(bound for bound, _ in buckets[:-1]) == BOUNDS_S


def test_bounds_are_close_and_hold_the_targets() -> None:
    assert {0.1, 0.2, 0.5} <= set(BOUNDS_S)
    assert all(high <= 2 * low for low, high in pairwise(BOUNDS_S))


def test_counts_are_exact(small: Server) -> None:
    name = 'nimify_inference_requests_total{code="%d",model="m",version="1"}'
    before = small.metrics()
    for _ in range(7):
        small.infer(ROW)
    for _ in range(3):
        small.infer(b"[]")
    after = small.metrics()
    assert after[name % 200] - before.get(name % 200, 0) == 7
    assert after[name % 400] - before.get(name % 400, 0) == 3
    rejected = 'nimify_requests_rejected_total{reason="malformed"}'
    assert after[rejected] - before.get(rejected, 0) == 3
    duration = 'nimify_inference_request_duration_seconds_count{model="m",version="1"}'
    assert after[duration] - before[duration] == 7


def test_labels_that_come_from_clients_are_bounded(small: Server) -> None:
    small.ask("GET", "/other")
    before = len(small.metrics())
    for number in range(60):
        small.ask("POST", f"/v2/models/model{number}/infer", b"{}")
        small.ask("GET", f"/path{number}")
        small.ask(f"VERB{number}"[:4] if number < 1 else "PUT", "/v2")
    assert len(small.metrics()) <= before + 4
    assert "model5" not in small.ask("GET", "/metrics", admin=True).body.decode()


def test_the_cache_answers_and_counts(own: Server) -> None:
    row = {"inputs": [tensor("x", [1, 8], "FP32", [0.125] * 8)]}
    before = own.metrics()
    first, second = own.infer({**row, "id": "1"}), own.infer({**row, "id": "2"})
    assert first.json["outputs"] == second.json["outputs"]
    assert (first.json["id"], second.json["id"]) == ("1", "2")
    other = own.infer({"inputs": [tensor("x", [1, 8], "FP32", [0.25] * 8)]})
    assert other.json["outputs"] != first.json["outputs"]
    after = own.metrics()
    hit, miss = (f'nimify_cache_requests_total{{result="{word}",tier="l1"}}' for word in ("hit", "miss"))
    assert after[hit] - before[hit] == 1
    assert after[miss] - before[miss] == 2
    assert 0 < after['nimify_cache_bytes{tier="l1"}'] <= 100_000


def test_every_log_line_is_json_with_fixed_fields(own: Server) -> None:
    own.infer(b"{")
    lines = own.log()
    assert lines[0]["event"] == "ready"
    for line in lines:
        assert {"ts", "level", "event", "msg"} <= set(line)
        assert (line["service"], line["region"], line["revision"]) == ("sentiment", "eu-west-1", "7")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])
    event = own.events("security")[-1]
    assert (event["category"], event["action"], event["client"]) == ("malformed", "refused", "127.0.0.1")


def test_request_ids_are_echoed_when_sane_and_made_otherwise(small: Server) -> None:
    assert small.infer(ROW, {"X-Request-Id": "abc-123"}).headers["x-request-id"] == "abc-123"
    odd = ("a b", "x" * 200, "<b>", "")
    made = {small.infer(ROW, {"X-Request-Id": wrong}).headers["x-request-id"] for wrong in odd}
    assert len(made) == 4
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", each) for each in made)
    assert small.infer(b"{", {"X-Request-Id": "bad-1"}).headers["x-request-id"] == "bad-1"


def test_slow_requests_are_logged_with_trace_and_without_secrets() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {
        "traceparent": f"00-{trace}-b7ad6b7169203331-01", "X-Request-Id": "r1",
        "Authorization": "Bearer sk-very-secret-0123456789", "Cookie": "session=verysecret",
    }  # fmt: skip
    with running(models_factory.mlp((8, 16, 4))) as server:
        server.infer(ROW, headers)
        line = until(lambda: server.events("request"), why="the first request is the sample")[0]
        assert line["trace_id"] == trace
        assert line["request_id"] == "r1"
        assert line["status"] == 200
        assert line["duration_ms"] >= 0
        for _ in range(20):
            server.infer(ROW)
        assert len(server.events("request")) == 1  # a sample, not a line for each
        server.infer(b"{", headers)
        server.ask("GET", "/v2/models/..;token=abcdefgh12345678/ready", headers=headers)
        assert server.end() == 0
        text = server.log_path.read_text()
        assert "secret" not in text
        assert "abcdefgh12345678" not in text


def counted(server: Server) -> float:
    """Security events that the log has told of so far."""
    return float(sum(line["count"] for line in server.events("security")))


def test_a_flood_of_refusals_is_a_few_lines_with_exact_counts(small: Server) -> None:
    lines = len(small.events("security"))
    for _ in range(300):
        small.infer(b"flood")
    total = small.metric("nimify_security_events_total")
    assert total >= 300
    until(lambda: counted(small) == total, why="all are counted")
    assert len(small.events("security")) - lines <= 12


def test_what_clients_send_is_inert_in_the_log(small: Server) -> None:
    hostile = ["\x1b]0;owned\x07", "\u202eevil", "[red]x[/red]", "a\nb", "\x9b31m"]
    for text in hostile:
        small.infer({"inputs": [{**ROW["inputs"][0], "name": text, "datatype": text}], "id": text})
        small.infer({"inputs": ROW["inputs"], "outputs": [{"name": text}]})
    until(lambda: small.events("security"))
    raw = small.log_path.read_text()
    for bad in ("\\u001b", "\x1b", "\u202e", "\\u009b", "\x9b"):
        assert bad not in raw


def test_log_lines_of_hostile_text_stay_one_clean_line() -> None:
    written: list[bytes] = []
    log = JsonLog(written.append, service="s")
    for text in CORPUS.values():
        log.write("x", text, path=text)
    for line in written:
        check_inert(line)


def check_inert(line: bytes) -> None:
    """One line of bounded length whose texts a terminal would not obey."""
    assert line.count(b"\n") == 1
    assert len(line) < 20_000
    record = json.loads(line)
    for text in (record["msg"], record["path"]):
        assert all(char.isprintable() for char in text)


def test_sabotage_without_cleaning_hostile_text_gets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(logs, "clean_line", lambda text, _limit=0: text)
    for text in CORPUS.values():
        with contextlib.suppress(TypeError):  # lone surrogates are no JSON at all
            JsonLog(written.append).write("x", text, path=text)
    caught = 0
    for line in written:
        try:
            check_inert(line)
        except AssertionError:
            caught += 1
    assert caught > len(written) / 3


def test_the_diagnostic_page(own: Server) -> None:
    page = own.ask("GET", "/health", admin=True).json
    assert page["ready"] is True
    assert page["draining"] is False
    assert page["model"]["name"] == "m"
    assert page["model"]["providers"] == ["CPUExecutionProvider"]
    assert page["model"]["runs_on"] == "event loop"
    assert page["pid"] == own.process.pid
    assert page["memory"]["rss_bytes"] > 10_000_000
    assert page["limits"]["max_queue"] == 256
    assert page["requests"]["in_flight"] == 0


def test_without_an_admin_listener_the_main_one_has_all() -> None:
    with running(models_factory.mlp((8, 16, 4)), admin=False) as server:
        assert server.ready["admin_port"] is None
        assert server.ask("GET", "/metrics").status == 200
        assert server.ask("GET", "/health").json["ready"] is True
        assert server.infer(ROW).status == 200


def test_the_admin_listener_infers_nothing(small: Server) -> None:
    answer = small.ask("POST", "/v2/models/m/infer", b"{}", admin=True)
    assert answer.status == 404
    assert "/metrics" in answer.error
