"""The wizard: from a file to the first answered inference, one decision a page."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nimify_tui.base.errors import ModelError
from nimify_tui.domain.models import Finding, FindingLevel, ModelReport
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionState, Verb
from nimify_tui.domain.regions import RegionKind, RegionState
from nimify_tui.domain.services import Limits
from nimify_tui.ui.present import wizard as present
from tests.hostile import CORPUS
from tests.tui import check_golden, screen_lines, screen_text, until
from tests.ui import frames
from tests.ui.world import World, run_console

LOCAL = msgspec.structs.replace(
    frames.empty(),
    regions=(frames.region("local", production=False, rps=None, p95=None), frames.region("lab", rps=None, p95=None)),
)


@pytest.fixture
def models(tmp_path: Path) -> Iterator[Path]:
    """A folder with a model, a text and a folder; the console is started in it."""
    (tmp_path / "embed.onnx").write_bytes(b"x" * 5000)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "more").mkdir()
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def world_of_two() -> World:
    world = World(LOCAL)
    world.typed = False
    return world


def _moved_on(app: Any, before: str) -> Callable[[], bool]:
    return lambda: app.top.page != before


async def to_page(app: Any, pilot: Any, page: str) -> None:
    """Take the defaults until ``page``."""
    await pilot.press("n")
    await until(pilot, lambda: "embed.onnx" in screen_text(app))
    for _ in range(8):
        if app.top.page == page:
            return
        before = app.top.page
        await pilot.press("enter")
        await until(pilot, _moved_on(app, before))
    raise AssertionError(f"never came to {page}")


def test_a_docker_host_is_offered_and_a_cluster_is_not(models: Path) -> None:
    """Sabotage: regions of every kind are offered. The wizard makes what the controllers of these two can make."""
    kinds = {"dock": RegionKind.DOCKER, "eks": RegionKind.KUBERNETES}
    more = [
        msgspec.structs.replace(row, region=msgspec.structs.replace(row.region, kind=kind))
        for name, kind in kinds.items()
        for row in [frames.region(name, production=False, rps=None, p95=None)]
    ]
    world = World(msgspec.structs.replace(LOCAL, regions=(*LOCAL.regions, *more)))

    async def script(app: Any, pilot: Any) -> str:
        await to_page(app, pilot, "regions")
        await until(pilot, lambda: "space takes it" in screen_text(app))
        return screen_text(app)

    text = run_console(script, world)
    assert "dock" in text
    assert "eks" not in text.split("in which regions?")[1].split("the plan so far")[0]


def test_the_defaults_lead_to_an_answered_inference_and_a_command_line(models: Path) -> None:
    world = world_of_two()

    async def script(app: Any, pilot: Any) -> str:
        await to_page(app, pilot, "plan")
        await until(pilot, lambda: "y goes on" in screen_text(app))
        await pilot.press("y")
        await until(pilot, lambda: "first inference answered" in screen_text(app))
        assert app.farewell == [app.top.summary_lines()[0]]
        return screen_text(app)

    text = run_console(script, world, size=(160, 40))
    request = world.asked[0]
    assert request.verb is Verb.CREATE
    assert request.targets == (ServiceKey("local", "embed-e5"),)
    assert request.replicas == 1
    assert request.spec is not None
    assert request.spec.model_path == str(models / "embed.onnx")
    assert request.spec.limits == Limits()
    assert "200 first inference answered in 12ms" in text
    line = f"nimify-tui deploy {models}/embed.onnx --name embed-e5 --region local --replicas 1 --yes"
    assert line in " ".join(text.replace(" \\\n", "\n").split()).replace(" \\ ", " ")


@pytest.mark.parametrize("page", ["report", "regions", "limits"])
def test_golden(page: str, models: Path) -> None:
    world = world_of_two()
    world.report = ModelReport(
        path="/models/embed.onnx", format="ONNX", size_bytes=90_000_000, suggested_name="embed-e5", deployable=True,
        findings=(Finding(FindingLevel.NOTE, "weights lie beside the file"),), batchable=True,
        batch_reason="first axis 'batch' is symbolic in all inputs and outputs (a guess; run it to know)",
        not_checked=("the values of the weights", "whether the runtime knows every operator", "licences"),
    )  # fmt: skip

    async def script(app: Any, pilot: Any) -> str:
        await to_page(app, pilot, page)
        await pilot.pause()
        return screen_text(app)

    check_golden(f"wizard-{page}-80x24", run_console(script, world, size=(80, 24)))
    check_golden(f"wizard-{page}-120x40", run_console(script, world, size=(120, 40)))


def test_every_decision_can_be_changed(models: Path) -> None:
    world = world_of_two()

    async def script(app: Any, pilot: Any) -> str:
        await to_page(app, pilot, "name")
        await pilot.press("ctrl+u", *"my-model", "enter")
        await until(pilot, lambda: app.top.page == "regions")
        await pilot.press("space", "space", "enter")  # local out, lab in
        await until(pilot, lambda: app.top.page == "replicas")
        await pilot.press("ctrl+u", "3", "enter")
        await until(pilot, lambda: app.top.page == "limits")
        await pilot.press("down", "enter", "ctrl+u", *"50", "enter", "down", "enter", "ctrl+u", *"2m", "enter")
        await pilot.pause()
        await pilot.press("g", "enter")
        await until(pilot, lambda: "y goes on" in screen_text(app))
        return str(app.top.summary_lines()[0])

    text = run_console(script, world, size=(160, 40))
    request = world.asked[0]
    assert request.targets == (ServiceKey("lab", "my-model"),)
    assert request.replicas == 3
    assert request.spec is not None
    assert (request.spec.limits.rate_limit_rps, request.spec.limits.max_body_bytes) == (50.0, 2 * 2**20)
    assert "--region lab --replicas 3 --rate-limit-rps 50 --max-body-bytes 2097152 --yes" in text


def test_escape_goes_one_page_back_and_at_last_out(models: Path) -> None:
    async def script(app: Any, pilot: Any) -> list[str]:
        await to_page(app, pilot, "limits")
        pages = []
        for _ in range(9):
            pages.append(getattr(app.top, "page", "fleet"))
            await pilot.press("escape")
            await pilot.pause()
        return list(dict.fromkeys(pages))

    assert run_console(script, world_of_two()) == [
        "limits",
        "replicas",
        "regions",
        "name",
        "report",
        "model",
        "fleet",
    ]


@pytest.mark.parametrize(
    ("page", "typed", "said"),
    [
        ("name", "My Model!", "is not a valid name"),
        ("replicas", "0", "not a number from 1"),
        ("replicas", "x", "not a number from 1"),
    ],
)
def test_a_wrong_answer_says_what_is_right_and_asks_again(page: str, typed: str, said: str, models: Path) -> None:
    async def script(app: Any, pilot: Any) -> str:
        await to_page(app, pilot, page)
        app.top.prompt._edit.set(typed)
        await pilot.press("enter")
        await pilot.pause()
        assert app.top.page == page
        assert app.top.prompting
        return " ".join(str(each) for each in app.current_notice() or ())

    assert said in run_console(script, world_of_two())


def test_a_file_that_is_no_model_says_why_and_stays(models: Path) -> None:
    world = world_of_two()
    world.report = ModelError("notes.txt is not an ONNX file", "choose another")

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("n")
        await until(pilot, lambda: "notes.txt" in screen_text(app))
        await pilot.press("G", "enter")
        await pilot.pause()
        assert app.top.page == "model"
        return screen_lines(app)[-1]

    assert "notes.txt is not an ONNX file" in run_console(script, world)


def test_a_model_that_cannot_be_served_does_not_go_on(models: Path) -> None:
    world = world_of_two()
    world.report = ModelReport(
        path="/models/x.onnx", format="ONNX", size_bytes=1, deployable=False,
        findings=(Finding(FindingLevel.ERROR, "uses the operator Evil of an unknown domain"),),
    )  # fmt: skip

    async def script(app: Any, pilot: Any) -> str:
        await to_page(app, pilot, "report")
        await pilot.press("enter", "enter")
        await pilot.pause()
        assert app.top.page == "report"
        return screen_text(app)

    text = run_console(script, world)
    assert "Evil" in text
    assert "cannot be served" in text


def test_a_failed_start_shows_what_failed(models: Path) -> None:
    world = world_of_two()
    world.result_state = ActionState.FAILED

    async def script(app: Any, pilot: Any) -> str:
        await to_page(app, pilot, "plan")
        await until(pilot, lambda: "y goes on" in screen_text(app))
        await pilot.press("y")
        await until(pilot, lambda: "FAILED:" in screen_text(app))
        return screen_text(app)

    assert "l on its row shows the logs" in run_console(script, world)
    assert world.inferred == []


def _local(state: RegionState, **health: Any) -> Any:
    return msgspec.structs.replace(LOCAL, regions=(frames.region("local", state, production=False, **health),))


@pytest.mark.parametrize("then", ["waits on", "answers", "is down", "leaves"])
def test_the_plan_waits_for_a_region_that_is_still_connecting(then: str, models: Path) -> None:
    world = world_of_two()
    world.frame = _local(RegionState.CONNECTING, cause="connecting to local.sock")

    async def script(app: Any, pilot: Any) -> str:
        await to_page(app, pilot, "limits")
        await pilot.press("g", "enter")
        await until(pilot, lambda: "as soon as these regions answer" in screen_text(app))
        await pilot.press("enter")
        await pilot.pause(0.6)
        text = screen_text(app)
        assert "local  connecting to local.sock, for 41 s" in text
        assert "esc goes back to the limits" in text
        assert world.asked == []
        if then == "answers":
            world.frame = _local(RegionState.LIVE)
            await until(pilot, lambda: "y goes on" in screen_text(app))
        elif then == "is down":
            world.frame = _local(RegionState.DOWN)
            await until(pilot, lambda: bool(world.asked))
        elif then == "leaves":
            await pilot.press("escape")
            await until(pilot, lambda: app.top.page == "limits")
            world.frame = _local(RegionState.LIVE)
            await pilot.pause(0.6)
        return str(app.top.page)

    assert run_console(script, world) == ("limits" if then == "leaves" else "plan")
    assert len(world.asked) == (1 if then in ("answers", "is down") else 0)


def test_read_only_the_wizard_does_not_even_open() -> None:
    async def script(app: Any, pilot: Any) -> tuple[str, str]:
        await pilot.press("n")
        await pilot.pause()
        return type(app.top).__name__, screen_lines(app)[-1]

    name, said = run_console(script, World(LOCAL, read_only=True))
    assert name == "FleetScreen"
    assert "read-only" in said


def test_hostile_file_names_stay_in_their_line(tmp_path: Path) -> None:
    names = [text.replace("/", "_").replace("\0", "")[:60] for text in CORPUS.values()]
    for index, name in enumerate(names):
        raw = f"{index:02d}{name}".encode("utf-8", "surrogatepass")[:200]
        (tmp_path / os.fsdecode(raw)).write_bytes(b"x") if b"\0" not in raw else None

    async def script(app: Any, pilot: Any) -> str:
        app.open_wizard(str(tmp_path))
        await until(pilot, lambda: "00" in screen_text(app))
        return screen_text(app)

    text = run_console(script, world_of_two(), size=(120, 60))
    assert "\x1b" not in text
    assert len(text.split("\n")) == 60
    assert present.list_folder(tmp_path).entries


def test_limits_are_checked_and_shown_with_units() -> None:
    rate, body, *_ = present.LIMITS
    assert rate.parse("12.5", Limits()).rate_limit_rps == 12.5
    assert body.parse("512k", Limits()).max_body_bytes == 512 * 1024
    for wrong in ("", "many", "-1", "1e9", "nan"):
        with pytest.raises(ValueError, match=r"number|goes from"):
            rate.parse(wrong, Limits())
    assert present.limits_text(Limits()) == "the defaults"
    assert present.limits_text(rate.parse("50", Limits())) == "requests/s per client 50/s"


def test_caches_are_chosen_with_units_and_are_in_the_command_line() -> None:
    *_, answers, kept, graphs = present.LIMITS
    limits = graphs.parse("2g", kept.parse("300", answers.parse("64m", Limits())))
    assert (limits.cache_bytes, limits.cache_ttl_s, limits.artifact_cache_bytes) == (64 * 2**20, 300.0, 2 * 2**30)
    assert present.limits_text(limits) == "response cache 64M, answers kept for 5m, artifact cache 2G"
    line = present.command_line(present.Draft(limits=limits))
    assert "--cache-bytes 67108864 --cache-ttl-s 300 --artifact-cache-bytes 2147483648" in line
    assert [each.typed(limits) for each in (answers, kept, graphs)] == ["64m", "300", "2g"], "what enter keeps"
    with pytest.raises(ValueError, match=r"response cache goes from 64K to 931G, or 0 for none"):
        answers.parse("64", limits)
    off = answers.parse("0", limits)
    assert answers.show(off) == "none"
    assert "--cache-ttl-s" not in present.command_line(present.Draft(limits=off)), "it would be of no cache"
