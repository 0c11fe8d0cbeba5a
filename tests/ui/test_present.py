"""Facts to cells: filter, order, names, regions, words."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from nimify_tui.domain.changes import Why
from nimify_tui.domain.measures import MeasureState
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import ReplicaState, ServiceState
from nimify_tui.ui.glyphs import ASCII, UNICODE
from nimify_tui.ui.present import detail, feeds, head, panels, services
from nimify_tui.ui.present.layout import PANELS, fleet_layout
from nimify_tui.ui.present.logs import plain_log
from nimify_tui.ui.present.services import Ordering, Rows, View
from nimify_tui.ui.widgets.cells import Cell
from nimify_tui.ui.widgets.columns import Column, place
from tests.ui import frames


def text(spans: Sequence[tuple[str, str]]) -> str:
    return "".join(part for part, _ in spans)


def cells(row: object) -> list[str]:
    return [each.text if isinstance(each, Cell) else each for each in row.cells]  # type: ignore[attr-defined]  # a Row


# -- order and filter ------------------------------------------------------------------------
def test_the_fleets_order_is_kept_and_regions_open_under_their_service() -> None:
    frame = frames.drawn()
    assert Ordering().order(frame, View())[:3] == ("llama-chat", "fraud-score", "rerank-v2")
    opened = Ordering().order(frame, View(opened=frozenset({"llama-chat"})))
    assert opened[:4] == ("llama-chat", "llama-chat@eu-west-1", "llama-chat@us-east-1", "llama-chat@us-west-2")


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        ("^embed", ["embed-e5"]),
        ("DEGRADED", ["llama-chat", "rerank-v2"]),
        ("apne1", ["fraud-score", "embed-e5", "toxicity", "rank-lgbm"]),
        ("oom", ["llama-chat"]),
        ("!a", ["vision-l14", "tts-multi"]),
        ("!ours|nim|triton", ["guard-7b", "batch-llm"]),
        ("[", []),
    ],
)
def test_filter(pattern: str, shown: list[str]) -> None:
    frame = frames.drawn()
    assert list(Ordering().order(frame, View(filter_text=pattern))) == shown


def test_a_pattern_that_is_no_expression_says_so_and_is_looked_for_as_it_stands() -> None:
    _, trouble = services.parse_filter("a[b")
    assert "not a regular expression" in trouble


def test_sort_keeps_worst_first_among_equals_and_turns_round() -> None:
    frame = frames.drawn()
    by_rps = Ordering().order(frame, View(sort="rps"))
    assert by_rps[0] == "embed-e5"
    assert by_rps[-1] in {"batch-llm", "asr-large", "fraud-score"}
    by_name = Ordering().order(frame, View(sort="name"))
    assert list(by_name) == sorted(by_name)
    assert list(Ordering().order(frame, View(sort="name", reverse=True))) == sorted(by_name, reverse=True)
    assert Ordering().order(frame, View(sort="ready"))[0] == "fraud-score"


def test_a_row_that_did_not_change_is_the_same_object() -> None:
    frame, rows = frames.drawn(), Rows()
    rows.use(frame, frozenset(), frames.NOW, 13, False)
    before = {each: rows[each] for each in frame.order}
    rows.use(msgspec.structs.replace(frame, version=2), frozenset(), frames.NOW, 13, False)
    assert all(rows[each] is before[each] for each in frame.order)
    rows.use(frame, frozenset(), frames.NOW + 60, 13, False)
    assert rows["llama-chat"] is not before["llama-chat"]  # its SINCE moved
    assert rows["embed-e5"] is before["embed-e5"]


# -- rows ------------------------------------------------------------------------------------
def row_cells(name: str, *, short: bool = False) -> dict[str, str]:
    frame, rows = frames.drawn(), Rows()
    rows.use(frame, frozenset(), frames.NOW, 13, short)
    return dict(zip((each.key for each in services.columns_for(120)), cells(rows[name]), strict=True))


def test_rows_say_what_is_known_what_is_not_and_what_does_not_apply() -> None:
    llama = row_cells("llama-chat")
    assert llama["ready"] == "5/6"
    assert (llama["p95"], llama["err"], llama["burn"], llama["since"]) == ("1.9s", "1.2%", "14.4", "6m")
    assert llama["reason"] == "euw1: OOM at 16Gi"
    assert row_cells("llama-chat", short=True)["reason"] == "euw1: OOM at 16Gi"
    lost = row_cells("fraud-score")
    assert (lost["ready"], lost["rps"], lost["p95"]) == ("?/2", "–", "–")
    stopped = row_cells("batch-llm")
    assert (stopped["rps"], stopped["p95"], stopped["burn"], stopped["ready"]) == ("", "", "", "0/0")
    calm = row_cells("embed-e5")
    assert (calm["since"], calm["reason"]) == ("", "")
    assert row_cells("tts-multi")["burn"] == "no SLO"


def test_old_numbers_dim_and_carry_their_age() -> None:
    row = frames.row("old", ("us-east-1",), rps=3, p=(0.1, 0.2, 0.3), err=0.0, stale=True)
    row = msgspec.structs.replace(row, rps=frames.num(3, "rps", stale=True, at=frames.NOW - 42))
    drawn = services.service_row(row, frames.NOW, "old", False, "")
    assert drawn.cells[4] == Cell("3.0", "stale")
    assert cells(drawn)[-1] == "numbers 40 s old"


def test_healthy_rows_are_plain() -> None:
    frame, rows = frames.drawn(), Rows()
    rows.use(frame, frozenset(), frames.NOW, 13, False)
    styles = {each.style for each in rows["embed-e5"].cells if isinstance(each, Cell)}
    assert not styles & {"bad", "warn", "ok", "start"}


# -- head ------------------------------------------------------------------------------------
@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
def test_status_line_fits_and_keeps_what_matters(width: int) -> None:
    left, right = head.status_spans(frames.drawn(), head.HeadFacts(frames.NOW, "ops@bastion-1", "READ-ONLY"), width)
    if width >= 40:
        assert len(text(left)) + len(text(right)) <= width
    assert "5/6" in text(left)
    assert "READ-ONLY" in text(right)
    if width >= 60:
        assert "18:42Z" in text(right)


def test_no_alert_source_is_not_no_alerts() -> None:
    frame = frames.drawn()
    facts = head.HeadFacts(frames.NOW, "o", "READ-ONLY")
    assert "alerts –" in text(head.status_spans(frame, facts, 200)[0])
    none = msgspec.structs.replace(frame, summary=msgspec.structs.replace(frame.summary, alerts=0))
    assert "alerts 0" in text(head.status_spans(none, facts, 200)[0])
    some = msgspec.structs.replace(none.summary, alerts=3, alerts_critical=2)
    three = msgspec.structs.replace(frame, summary=some)
    assert "alerts 2 CRIT 1 WARN" in text(head.status_spans(three, facts, 200)[0])
    two = msgspec.structs.replace(frame, summary=msgspec.structs.replace(some, alerts=2))
    assert "alerts 2C " in text(head.status_spans(two, facts, 90)[0])


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (40, 10)])
def test_a_region_without_contact_has_a_line_with_cause_age_and_next_try(size: tuple[int, int]) -> None:
    strip = head.strip(frames.drawn(), frames.NOW, *size, UNICODE)
    assert len(strip.items) == 5
    said = text(strip.lines[0])
    assert "DOWN 41 s" in said
    assert "no contact from this host" in said
    assert "next try in 7 s" in said
    if size[0] >= 80:
        assert len(said) <= size[0] - 2


def test_where_there_is_no_room_the_address_goes_and_what_is_the_matter_stays() -> None:
    cause = "no contact from this host (https://api.eu-west-1.example:6443: no answer to a heartbeat within 3 s)"
    frame = frames.frame_of([], regions=[frames.region("eu-west-1", RegionState.DOWN, cause=cause)])
    wide = text(head.strip(frame, frames.NOW, 200, 40, ASCII).lines[0])
    assert "(https://api.eu-west-1.example:6443: no answer" in wide
    said = text(head.strip(frame, frames.NOW, 110, 40, ASCII).lines[0])
    assert "no contact from this host (no answer to a heartbeat within 3 s)" in said


def test_the_first_frame_says_what_it_connects_to() -> None:
    strip = head.strip(frames.connecting(), frames.NOW, 80, 24, UNICODE)
    assert "connecting to unix:local.sock" in text(strip.lines[0])


def test_where_a_region_connects_to_is_said_once() -> None:
    address = "unix:us-east-1.sock"
    for cause in (f"connecting to {address}", f"{address}: reading pods"):
        row = frames.region("us-east-1", RegionState.CONNECTING, cause=cause)
        said = text(head.strip(frames.frame_of([], regions=[row]), frames.NOW, 120, 24, UNICODE).lines[0])
        assert said.count(address) == 1, said
        assert cause in said


def test_many_lost_regions_share_lines_on_a_small_screen() -> None:
    regions = [frames.region(f"us-east-{i}", RegionState.DOWN, cause="gone") for i in range(1, 7)]
    strip = head.strip(frames.frame_of([], regions=regions), frames.NOW, 80, 24, UNICODE)
    assert strip.lines == ()
    assert all("DOWN" in text(each) for each in strip.items)


def test_a_down_region_never_claims_that_its_services_are_down() -> None:
    row = frames.region("us-east-1", RegionState.DOWN, cause="connect timed out")
    seen = msgspec.structs.replace(row, traffic_seen=True)
    assert "its metrics still show traffic" in text(
        head.strip(frames.frame_of([], regions=[seen]), frames.NOW, 200, 40, ASCII).lines[0]
    )


@pytest.mark.parametrize(
    ("read_only", "writable", "word"),
    [(True, 3, "READ-ONLY"), (False, 0, "READ-ONLY"), (False, 3, "READ-WRITE"), (False, 1, "READ-WRITE 1/3")],
)
def test_mode(read_only: bool, writable: int, word: str) -> None:
    assert head.mode_word(read_only, writable, 3) == word


# -- why and panels --------------------------------------------------------------------------
def test_why_puts_the_most_telling_first_with_its_distance() -> None:
    left, right = panels.why_lines(frames.drawn_why(), 120, 4)
    assert "rollout to revision 12 by ci" in text(left[0])
    assert text(right[0]) == "29 s before"
    assert "r12 is well in us-east-1" in text(left[-1])


def test_why_says_that_nothing_is_known_rather_than_guess() -> None:
    why = Why(row_id="x", region="r", onset_at=1.0, symptom="slow", clues=(), verdict="")
    assert text(panels.why_lines(why, 80, 2)[0][0]) == "nothing known changed"
    assert text(panels.why_lines(None, 80, 2)[0][0]) == "looking it up"


def test_a_cache_that_was_not_asked_shows_no_number() -> None:
    assert text(panels.cache_items(frames.drawn_caches(), UNICODE)[2]) == "edge L3 – not probed"
    assert text(panels.cache_items((), UNICODE)[0]) == "no cache reported yet"


def test_chart_without_an_objective_says_so() -> None:
    data = panels.chart_data(frames.history(slo=False), frames.NOW)
    assert (data.slo, data.slo_text) == (None, "no SLO")
    assert panels.chart_data(None, frames.NOW).empty == "looking it up"


def test_security_repeats_are_folded_and_counted() -> None:
    frame = frames.drawn()
    rows = feeds.security_rows(frame.security, frames.NOW, False)
    assert cells(rows[0][1])[-1] == "sql injection, refused ×14"
    assert feeds.security_facts(frame, frames.NOW).startswith("355 in 5 min")


# -- detail ----------------------------------------------------------------------------------
def test_unwell_replicas_come_first_with_their_last_words() -> None:
    rows = detail.replica_rows(frames.drawn_detail().replicas, frames.NOW, False)
    assert rows[0][0] == "llama-chat@eu-west-1/r-3"
    words = cells(rows[0][1])[-1]
    assert "starts again in 13 s" in words
    assert "CUDA out of memory" in words


def test_an_exit_that_nobody_saw_is_not_guessed() -> None:
    replica = frames.replica("r-9", ReplicaState.EXITED, exit_seen=False, reason="gone")
    row = msgspec.structs.replace(frames.drawn_detail().replicas[0], replica=replica)
    assert "how it ended was not seen" in detail.replica_words(row, frames.NOW)


def test_the_log_that_tells_most_is_chosen() -> None:
    chosen = detail.crashed_replica(frames.drawn_detail())
    assert chosen is not None
    assert (chosen[0].replica.key.replica, chosen[1]) == ("r-3", False)  # it waits: its newest run has the last words
    up = frames.replica("r-4", ReplicaState.STARTING, restarts=2, run=3)
    only = msgspec.structs.replace(frames.drawn_detail(), replicas=(msgspec.structs.replace(chosen[0], replica=up),))
    again = detail.crashed_replica(only)
    assert again is not None
    assert again[1] is True  # it is up again: the run before has them


def test_metrics_carry_source_and_age_or_the_reason() -> None:
    rows = [cells(row) for _, row in detail.metric_rows(frames.drawn_detail(), frames.NOW, False)]
    assert rows[0][2:] == ["35", "<5 s", "", "metrics of 2 replicas, from documentation"]
    assert rows[1][3:5] == ["40 s", str(MeasureState.STALE)]
    assert rows[2][2] == "–"
    assert rows[2][5] == "the runtime does not batch"


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        (
            '{"ts":"x","level":"error","event":"probe failed","status":503,"took_s":0.25}',
            "ERROR probe failed status=503 took_s=0.25",
        ),
        ('{"severity":"info","message":"hi","more":{"a":[1]}}', 'INFO hi more={"a":[1]}'),
        (f'{{"event":"no {"3fd33dc3" + "0a" * 28}.onnx"}}', "no 3fd33dc3.onnx"),
        ("plain text", "plain text"),
        ("{not json", "{not json"),
        ("[1]", "[1]"),
        ("{}", ""),
    ],
)
def test_structured_log_lines_read_like_lines(raw: str, plain: str) -> None:
    assert plain_log(raw) == plain


def test_a_log_line_of_another_size_is_not_taken_apart() -> None:
    text = '{"a":"' + "x" * 5000 + '"}'
    assert plain_log(text) is text


def test_a_hint_gives_up_its_last_parts_on_a_narrow_screen() -> None:
    hint = "demo: something breaks soon; it comes first, w says why, enter opens it, ? keys"
    assert text(head.hint_line(hint, 120)) == hint
    assert text(head.hint_line(hint, 60)) == "demo: something breaks soon; it comes first, w says why"


def test_a_demo_is_said_once_when_everything_is_one() -> None:
    demo = [frames.region(f"us-east-{i}", demo=True) for i in (1, 2)]
    frame = frames.frame_of([], regions=demo)
    assert text(head.status_spans(frame, head.HeadFacts(frames.NOW, "o", "READ-ONLY"), 120)[0]).startswith(
        " nimify demo "
    )
    assert "demo" not in text(head.strip(frame, frames.NOW, 120, 40, UNICODE).items[0])
    mixed = frames.frame_of([], regions=[*demo, frames.region("local")])
    assert "demo" in text(head.strip(mixed, frames.NOW, 120, 40, UNICODE).items[0])


# -- layout ----------------------------------------------------------------------------------
@pytest.mark.parametrize("zoom", ["", *PANELS])
@pytest.mark.parametrize("strip", [0, 1, 3])
@pytest.mark.parametrize(
    "size", [(40, 10), (60, 16), (80, 24), (100, 31), (120, 40), (160, 45), (200, 60), (300, 90)]
)
def test_panes_tile_the_screen(size: tuple[int, int], strip: int, zoom: str) -> None:
    width, height = size
    taken: dict[tuple[int, int], str] = {}
    for name, box in fleet_layout(width, height, strip, zoom).boxes.items():
        assert box.width > 0, name
        assert box.height > 0, name
        for y in range(box.y, box.y + box.height):
            for x in (box.x, box.x + box.width - 1):
                assert 0 <= x < width, name
                assert 0 <= y < height, name
                assert taken.setdefault((x, y), name) == name, (name, taken[x, y])
    assert set(taken.values()) >= {"status", "table", "footer"}


def test_big_screens_show_every_panel() -> None:
    boxes = fleet_layout(200, 60, 2).boxes
    assert set(PANELS) <= set(boxes)
    assert {"latency", "gpu", "cache", "security"} <= set(fleet_layout(120, 40, 3).boxes)
    assert fleet_layout(80, 24, 2).tabs


def test_state_words_have_styles() -> None:
    for state in ServiceState:
        row = frames.row("x", ("us-east-1",), state, since_s=5, reason="because")
        drawn = services.service_row(row, frames.NOW, "x", False, "")
        assert drawn.state in UNICODE.states
        assert drawn.state in ASCII.states


def test_a_column_that_says_the_same_in_each_row_gives_its_room_to_the_reason() -> None:
    rows = list(frames.drawn().rows.values())
    assert services.mute_columns(rows) == frozenset()
    assert services.mute_columns([]) == frozenset()
    plain = [msgspec.structs.replace(each, slo=None, family="ours") for each in rows]
    mute = services.mute_columns(plain)
    assert mute == {"burn", "family"}

    def reason_width(columns: Sequence[Column]) -> int:
        return place(columns, 120, 2, 3)[-1].width

    assert reason_width(services.columns_for(120, mute)) >= reason_width(services.columns_for(120)) + 14
    # Cells keep their column: what is left out is not drawn, and nothing moves into its place.
    shown = {each.column.key: each.index for each in place(services.columns_for(120, mute), 120, 2, 3)}
    assert shown["reason"] == len(services.columns_for(120)) - 1
    assert "burn" not in shown


def test_the_first_clue_takes_a_second_line_when_one_is_free() -> None:
    drawn = frames.drawn_why()
    clue = drawn.clues[0]
    change = msgspec.structs.replace(clue.change, text="rollout to revision 12", evidence="evidence " * 12)
    why = msgspec.structs.replace(drawn, clues=(msgspec.structs.replace(clue, change=change),), elsewhere="")
    left, right = panels.why_lines(why, 78, 3)
    assert [bool(each) for each in right] == [True, False]
    assert text(left[1]).strip() == ("evidence " * 12).strip()
    left, _ = panels.why_lines(why, 78, 1)
    assert len(left) == 1
    left, _ = panels.why_lines(why, 78, 3, reason="no contact; was OK")
    assert text(left[0]) == "no contact; was OK"
    left, _ = panels.why_lines(why, 78, 3, reason="euw1: rollout to revision 12 brought errors")
    assert "brought errors" not in text(left[0])


def test_replicas_of_a_region_that_is_not_seen_say_what_they_were() -> None:
    shown = frames.drawn_detail().replicas
    region = next(each.replica.key.service.region for each in shown if each.replica.state is ReplicaState.READY)
    rows = dict(detail.replica_rows(shown, frames.NOW, False, frozenset({region})))
    for each in shown:
        row = rows[detail.replica_id(each)]
        told = [cell if isinstance(cell, str) else cell.text for cell in row.cells]
        unseen = each.replica.key.service.region == region
        assert (row.state == "unknown") is unseen
        assert ("UNKNOWN" in told) is unseen
        assert (f"no contact; was {each.replica.state}" in told) is unseen
