"""A service whose server has several models opens by model, below its region where it has several."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nimify_tui.domain.measures import Measure, MeasureState, absent
from nimify_tui.domain.served import ModelKind
from nimify_tui.domain.services import ServiceState
from nimify_tui.fleet.frames import Frame, ModelRow
from tests.tui import check_golden, screen_lines, screen_text
from tests.ui import frames
from tests.ui.frames import NOW, num, region, row
from tests.ui.world import World, run_console

S = ServiceState
HOSTILE = "\x1b[2Jx[red]"


def model(where: str, name: str, state: ServiceState = S.OK, reason: str = "", **more: Any) -> ModelRow:
    """A model's row; without ``rps`` its numbers are not known."""
    rps: float | None = more.pop("rps", None)
    why = "its replicas tell no address for metrics"
    p95 = num(0.05, "s") if rps else absent("s", why)
    fields: dict[str, Any] = {
        "kind": ModelKind.BASE, "ready": 0, "told": 0, "versions": (), "source": "--lora-modules",
        "rps": num(rps, "rps") if rps else absent("rps", why), "p50": p95, "p95": p95, "p99": p95,
        "error_ratio": num(0.0, "ratio") if rps else absent("ratio", why),
    }  # fmt: skip
    return ModelRow(id=f"{where}#{name}", name=name, state=state, reason=reason, **(fields | more))


def unknown(where: str, name: str, kind: ModelKind) -> ModelRow:
    reason = "from --lora-modules, its server is not asked how it is"
    return model(where, name, S.UNKNOWN, reason, kind=kind)


def several() -> Frame:
    """A server in one region with two adapters, a service of two regions of which one serves three models."""
    guard = ("guard-7b", "toxic-lora", "pii-lora")
    folded = ("scores", "ranks", "resnet50-image-classification-with-a-long-name")
    one = row("guard", ("us-east-1",), family="vllm", slo=False, models=guard, models_note="more may come")
    two = row("bundle", ("eu-west-1", "us-east-1"), S.DEGRADED, family="ours", slo=False, ready=2, desired=2,
              rps=30.0, reason="ranks: shapes do not fit", reason_region="eu-west-1", since_s=120,
              models=folded)  # fmt: skip
    children = [
        row("bundle", ("eu-west-1",), S.DEGRADED, slo=False, depth=1, models=folded, rps=20.0,
            reason="ranks: shapes do not fit", since_s=120),
        row("bundle", ("us-east-1",), slo=False, depth=1, rps=10.0),
    ]  # fmt: skip
    index = "v2/repository/index"
    below = "bundle@eu-west-1"
    return frames.frame_of(
        [two, one, row("plain", ("us-east-1",), slo=False)],
        {two.id: children},
        [region("us-east-1"), region("eu-west-1")],
        models={
            one.id: (
                model("guard@us-east-1", guard[0], source="NIMService guard", ready=0),
                unknown("guard@us-east-1", guard[2], ModelKind.ADAPTER),
                unknown("guard@us-east-1", guard[1], ModelKind.ADAPTER),
            ),
            below: (
                model(below, "ranks", S.DOWN, "shapes do not fit", told=1, source=index),
                model(below, folded[2], S.STARTING, "is loading", told=1, source=index),
                model(below, "scores", rps=20.0, ready=1, versions=("1", "2"), told=1, source=index),
            ),
        },
    )


async def opened(app: Any, pilot: Any) -> None:
    """Everything that opens is open."""
    await pilot.press("right", "down", "right")
    for _ in range(5):
        await pilot.press("down")
    await pilot.press("right")
    await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_golden(size: tuple[int, int]) -> None:
    async def script(app: Any, pilot: Any) -> str:
        await opened(app, pilot)
        return screen_text(app)

    check_golden(f"fleet-models-{size[0]}x{size[1]}", run_console(script, World(several()), size=size))


def test_it_opens_by_model_and_folds_from_inside() -> None:
    async def script(app: Any, pilot: Any) -> list[object]:
        seen: list[object] = []
        for keys in (("right",), ("down", "right"), ("down", "x"), ("x",), ("end", "up", "x"), ("down", "x")):
            await pilot.press(*keys)
            await pilot.pause()
            seen.append((len(app.top.table.order), str(app.top.table.cursor_key)))
        return seen

    below = "bundle@eu-west-1"
    assert run_console(script, World(several())) == [
        (5, "bundle"), (8, below), (5, below), (8, below), (11, "guard"), (8, "guard"),
    ]  # fmt: skip


def test_cursor_filter_sort_and_marks_mean_what_they_show() -> None:
    """The cursor stays on its model through new numbers and a new order; a model acts and opens as its service."""
    world = World(several())

    async def script(app: Any, pilot: Any) -> list[object]:
        await opened(app, pilot)
        table = app.top.table
        seen: list[object] = []
        await pilot.press("down", "down")
        seen.append(str(table.cursor_key))
        guard = tuple(msgspec.structs.replace(each, rps=num(9.0, "rps")) for each in world.frame.models["guard"])
        world.frame = msgspec.structs.replace(
            world.frame, models={**world.frame.models, "guard": tuple(reversed(guard))}, at=NOW + 1
        )
        app.top.show(world.frame, NOW + 1)
        await pilot.pause()
        seen.append(str(table.cursor_key))
        await pilot.press("space")
        seen.append(app.top.targets()[0])
        await pilot.press("M", "N")
        await pilot.pause()
        order = [str(each) for each in table.order]
        seen.append([each.partition("#")[2] for each in order if "bundle@eu-west-1#" in each])
        await pilot.press("slash", *"toxic", "enter")
        await pilot.pause()
        seen.append(str(table.order[0]))
        seen.append("1 of 3" in screen_text(app))
        await pilot.press("down", "enter")
        await pilot.pause()
        seen.append(app.top.row_id)
        return seen

    first, again, targets, sorted_models, found, count, detail = run_console(script, world)
    assert first == again == "guard@us-east-1#pii-lora"
    assert [key.name for key in targets] == ["guard"]  # type: ignore[attr-defined]  # keys of services
    assert sorted_models == ["ranks", "resnet50-image-classification-with-a-long-name", "scores"]
    assert (found, count, detail) == ("guard", True, "guard")


def test_what_is_not_known_is_said_and_names_are_no_markup() -> None:
    frame = several()
    models = tuple(msgspec.structs.replace(each, name=HOSTILE) for each in frame.models["guard"][:1])
    note = "it serves what lies in its model repository /models; which models, the server alone knows"
    plain = msgspec.structs.replace(frame.rows["plain"], models_note=note)
    frame = msgspec.structs.replace(
        frame, models={"guard": models}, rows={**frame.rows, "plain": plain}
    )

    async def script(app: Any, pilot: Any) -> list[str]:
        await pilot.press("down", "right", "end", "x")
        await pilot.pause()
        return screen_lines(app)

    lines = run_console(script, World(frame))
    assert any("which models, the server alone knows" in line for line in lines)
    assert any("x[red]" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_old_numbers_of_a_model_say_so() -> None:
    frame = several()
    old = Measure(20.0, "rps", NOW - 20, "metrics", MeasureState.STALE, "last scrape 20 s ago")
    models = tuple(msgspec.structs.replace(each, rps=old) for each in frame.models["bundle@eu-west-1"][-1:])

    async def script(app: Any, pilot: Any) -> str:
        await opened(app, pilot)
        return screen_text(app)

    frame = msgspec.structs.replace(frame, models={"bundle@eu-west-1": models})
    assert "its numbers are old" in run_console(script, World(frame))
