"""The desk: plans say what will happen, in which state it was meant, and how it is taken back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nimify_tui.base.errors import ModelError, NetworkError, ValidationError
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import Verb
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import Limits, ServiceSpec
from tests.controllers.world import KEY, OTHER, Bench, fact, model, plan, service


def test_a_plan_of_a_scaling_says_what_happens_and_how_it_is_undone(bench: Bench) -> None:
    made = plan(bench, Verb.SCALE, replicas=4)
    assert made.summary == "Scale llama-chat to 4 in local"
    assert fact(made, "objects") == "service llama-chat, 2 of 2 replicas ready, revision 3"
    assert fact(made, "change") == "replicas 2 → 4"
    assert fact(made, "capacity") == "the 2 that serve go on; 2 more start beside"
    assert fact(made, "start") == "last start took 2.5 s"
    assert fact(made, "undo") == "scale back to 2"
    assert [(line.mark, line.text) for line in made.diff][:2] == [("-", "replicas: 2"), ("+", "replicas: 4")]
    assert made.preconditions[0] == (made.preconditions[0].__class__)(KEY, "u1", 7)
    assert made.undo is not None
    assert (made.undo.verb, made.undo.replicas, made.undo.undoes) == (Verb.SCALE, 2, made.id)


def test_a_restart_keeps_all_replicas_serving_and_needs_no_undo(bench: Bench) -> None:
    made = plan(bench, Verb.RESTART)
    assert "2 of 2 serve all the time" in fact(made, "capacity")
    assert made.undo is None
    assert "none needed" in fact(made, "undo")


def test_a_rollback_goes_to_the_revision_before_and_back(bench: Bench) -> None:
    made = plan(bench, Verb.ROLLBACK)
    assert made.request.revision == 2
    assert "new revision 4 with the content of revision 2" in fact(made, "change")
    assert "33333333 → 22222222" in fact(made, "change")
    assert made.undo is not None
    assert (made.undo.verb, made.undo.revision) == (Verb.ROLLBACK, 3)


def test_an_update_names_the_new_model_by_its_hash(bench: Bench, tmp_path: Path) -> None:
    spec = msgspec.structs.replace(model(tmp_path), limits=Limits(threads=2))
    made = plan(bench, Verb.UPDATE, spec=spec)
    assert made.request.spec is not None
    assert made.request.spec.model_sha256.startswith("9372c470eeadd5ec")  # sha256 of b"model"
    assert "limits.threads 1 → 2" in fact(made, "change")
    assert any(line.mark == "+" and "9372c470" in line.text for line in made.diff)
    assert made.undo is not None
    assert (made.undo.verb, made.undo.revision) == (Verb.ROLLBACK, 3)


def test_caches_are_in_the_words_of_a_plan(bench: Bench, tmp_path: Path) -> None:
    caches = Limits(cache_bytes=64 * 2**20, cache_ttl_s=300.0, artifact_cache_bytes=3 * 10**9 + 1)
    spec = msgspec.structs.replace(model(tmp_path), limits=caches)
    words = ("64 MiB for each model and replica (300 s)", "3000000001 B on the disk")
    made = plan(bench, Verb.UPDATE, spec=spec)
    assert f"response cache none → {words[0]}, artifact cache none → {words[1]}" in fact(made, "change")
    made = plan(bench, Verb.CREATE, OTHER, spec=spec)
    assert fact(made, "caches") == f"response cache of {words[0]}; artifact cache of {words[1]}"
    assert "keeps at most 67.1 MB of answers for each" in fact(made, "capacity")
    assert f"response cache: {words[0]}" in [line.text for line in made.diff]
    small = msgspec.structs.replace(spec, limits=Limits(memory_bytes=2**28, cache_bytes=2**28))
    with pytest.raises(ValidationError, match="as large as the memory limit"):
        plan(bench, Verb.CREATE, OTHER, spec=small)
    plain = plan(bench, Verb.CREATE, OTHER, spec=model(tmp_path))
    assert not [line.text for line in plain.diff if "cache:" in line.text], "nobody asked for one"
    assert fact(plain, "caches") == ""


def test_a_create_shows_the_model_and_is_undone_by_a_delete(bench: Bench, tmp_path: Path) -> None:
    made = plan(bench, Verb.CREATE, OTHER, spec=model(tmp_path), replicas=2)
    assert "m.onnx, 5 B" in fact(made, "model")
    assert all(line.mark == "+" for line in made.diff)
    assert made.preconditions[0].uid == ""
    assert made.undo is not None
    assert made.undo.verb is Verb.DELETE


def test_a_delete_is_undone_from_the_kept_model_or_says_that_it_cannot(bench: Bench, tmp_path: Path) -> None:
    made = plan(bench, Verb.DELETE)
    assert made.destructive
    assert made.undo is None
    assert "cannot be undone" in fact(made, "undo")
    kept = tmp_path / "kept.onnx"
    kept.write_bytes(b"x")
    bench.controller._kept_model = lambda region, sha256: kept if sha256 == "3" * 64 else None
    made = plan(bench, Verb.DELETE)
    assert made.undo is not None
    assert made.undo.spec is not None
    assert (made.undo.verb, made.undo.replicas, made.undo.spec.model_path) == (Verb.CREATE, 2, str(kept))


def test_many_targets_get_one_line_each_and_one_undo_each(bench: Bench) -> None:
    bench.world.add(service(OTHER, replicas=3))
    made = plan(bench, Verb.SCALE, KEY, OTHER, replicas=5, hidden=(OTHER,))
    assert made.summary == "Scale 2 services to 5 in local"
    assert "embed-e5@local: replicas 3 → 5" in fact(made, "change")
    assert fact(made, "hidden") == "marked and not shown by the filter: embed-e5@local"
    assert made.undo is not None
    assert [made.undo.part_for(key).replicas for key in (KEY, OTHER)] == [2, 3]


def test_targets_that_are_as_wanted_are_left_out_and_named(bench: Bench) -> None:
    bench.world.add(service(OTHER, replicas=5))
    made = plan(bench, Verb.SCALE, KEY, OTHER, replicas=5)
    assert made.request.targets == (KEY,)
    assert fact(made, "unchanged") == "embed-e5@local has 5 replicas already"
    with pytest.raises(ValidationError, match="has 5 replicas already"):
        plan(bench, Verb.SCALE, OTHER, replicas=5)


@pytest.mark.parametrize(
    ("verb", "fields", "words"),
    [
        (Verb.SCALE, {"replicas": -1}, "use a number from 0 to 64"),
        (Verb.SCALE, {"replicas": 65}, "use a number from 0 to 64"),
        (Verb.SCALE, {}, "is missing"),
        (Verb.ROLLBACK, {"revision": 9}, "there are: 1, 2, 3"),
        (Verb.ROLLBACK, {"revision": 3}, "already"),
        (Verb.START, {}, "is started already"),
        (Verb.UPDATE, {}, "nothing to change is given"),
        (Verb.UPDATE, {"replicas": 2, "stop_first": True}, "a process here ends after its successor serves"),
        (Verb.CREATE, {"replicas": 1}, "already"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_in_words(
    bench: Bench, verb: Verb, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        plan(bench, verb, **fields)
    assert words in str(caught.value)


def test_bad_names_models_and_limits_are_refused_in_words(bench: Bench, tmp_path: Path) -> None:
    good = model(tmp_path)
    with pytest.raises(ValidationError, match="not a valid name"):
        plan(bench, Verb.CREATE, ServiceKey("local", "Bad_Name"), spec=good)
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        plan(bench, Verb.CREATE, OTHER, spec=ServiceSpec(model_path=str(tmp_path / "none.onnx")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no model"):
        plan(bench, Verb.CREATE, OTHER, spec=ServiceSpec(model_path=str(tmp_path / "empty")))
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ModelError, match="no regular file"):
        plan(bench, Verb.CREATE, OTHER, spec=ServiceSpec(model_path=str(tmp_path / "pipe.onnx")))
    with pytest.raises(ValidationError, match="threads = 0"):
        plan(bench, Verb.CREATE, OTHER, spec=msgspec.structs.replace(good, limits=Limits(threads=0)))
    with pytest.raises(ModelError, match="not the one"):
        plan(bench, Verb.CREATE, OTHER, spec=msgspec.structs.replace(good, model_sha256="0" * 64))
    with pytest.raises(ValidationError, match="there is no service"):
        plan(bench, Verb.STOP, OTHER)


@pytest.mark.parametrize(
    "state", [RegionState.DOWN, RegionState.STALE, RegionState.CONNECTING, RegionState.AUTH]
)
def test_nothing_is_planned_for_a_region_that_is_not_seen(bench: Bench, state: RegionState) -> None:
    bench.world.state["local"] = state
    with pytest.raises(NetworkError, match=f"local is {state}"):
        plan(bench, Verb.RESTART)
    bench.world.state["local"] = RegionState.THROTTLED
    assert plan(bench, Verb.RESTART).request.targets == (KEY,)


# -- actions ---------------------------------------------------------------------------
