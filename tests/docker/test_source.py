"""What a real engine's containers look like as services: states, reasons, owners, ports, names, the time line.

About 25 s on two cores; the engine is shared, each test looks at containers of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nimify_tui.domain.services import ReplicaState
from nimify_tui.domain.slos import Slo
from tests.docker.acting import Acting, acting, region_toml, write_config
from tests.docker.engine import Engine, free_port
from tests.docker.test_acting import compose


@pytest.fixture
def desk(engine: Engine, tmp_path: Path) -> Iterator[Acting]:
    """A session that watches the engine of the tests; what the test starts is removed at its end."""
    with engine.swept(), acting(write_config(tmp_path, region_toml("dock", url=engine.url)), "dock") as made:
        yield made


def test_out_of_memory_is_told_with_the_limit(engine: Engine, desk: Acting) -> None:
    engine.run("--name", "hungry", "--memory", "16m", "--memory-swap", "16m", command=("tail", "/dev/zero"))
    row = desk.until_row("hungry", state="DOWN", reason="out of memory, killed at its limit of 16 MiB")
    [replica] = desk.replicas("hungry")
    assert replica.state is ReplicaState.EXITED
    assert replica.exit_signal == "SIGKILL"
    assert row.since is not None
    assert abs(row.since - desk.session.clock.now()) < 60
    desk.until(
        lambda: "hungry ran out of memory and was killed" in desk.changes(), "the crash on the time line"
    )


def test_a_crash_loop_names_exit_code_and_last_words(engine: Engine, desk: Acting) -> None:
    loop = ("sh", "-c", "printf '\\033[31mno model at /models\\n'; exit 3")
    engine.run("--name", "looping", "--restart", "always", command=loop)
    row = desk.until_row("looping", state="DOWN", reason="crash loop, exit code 3")
    desk.until(lambda: (row := desk.row("looping")) and "no model at /models" in row.reason, "its last words")
    row = desk.row("looping") or row
    assert "\033" not in row.reason, "what it writes is hostile"
    desk.until(lambda: desk.replicas("looping")[0].restarts > 0, "its restarts are counted")


def test_a_failing_health_check_says_what_it_said(engine: Engine, desk: Acting) -> None:
    check = (
        "--health-cmd",
        "echo port 8000 is closed; exit 1",
        "--health-interval",
        "300ms",
        "--health-retries",
        "1",
    )
    engine.run("--name", "sick", *check)
    desk.until_row("sick", state="DOWN", reason="its health check fails: port 8000 is closed")
    engine.run("--name", "slow-start", "--health-cmd", "exit 1", "--health-start-period", "10m",
               "--health-interval", "300ms")  # fmt: skip
    desk.until_row("slow-start", state="STARTING", reason="its health check has not passed yet")


def test_what_could_not_be_started_says_why(engine: Engine, desk: Acting) -> None:
    engine.busybox()
    with pytest.raises(AssertionError, match="could not select device driver"):
        engine.run("--name", "no-gpu", "--gpus", "2")
    desk.until_row("no-gpu", state="DOWN", reason='cannot be started: could not select device driver ""')
    assert desk.service("no-gpu").labels["gpus"] == "2"


@pytest.mark.parametrize(
    ("name", "command", "state"),
    [("done", ("true",), "STOPPED"), ("failed", ("sh", "-c", "exit 4"), "DOWN")],
)
def test_what_ended_by_itself_is_stopped_only_when_it_went_well(
    engine: Engine, desk: Acting, name: str, command: tuple[str, ...], state: str
) -> None:
    engine.run("--name", name, command=command)
    desk.until_row(name, state=state)


def test_a_container_that_somebody_stopped_is_no_crash_even_when_it_had_to_be_killed(
    engine: Engine, desk: Acting
) -> None:
    """Sabotage in the same test: the same exit code without being asked for is a crash."""
    stubborn = ("sh", "-c", "trap '' TERM; while true; do sleep 1; done")
    engine.run("--name", "asked", command=stubborn)
    engine.run("--name", "murdered", command=("sh", "-c", "kill -9 $$"))
    desk.until_row("asked", state="OK")
    engine.docker("stop", "--time", "1", "asked")
    assert engine.inspect("asked")["State"]["ExitCode"] == 137
    assert engine.inspect("murdered")["State"]["ExitCode"] == 137
    desk.until_row("asked", state="STOPPED")
    desk.until_row("murdered", state="DOWN", reason="killed by SIGKILL (exit code 137)")


def test_families_ports_owners_and_names(engine: Engine, desk: Acting) -> None:
    engine.busybox()
    engine.docker("tag", "nimify-test/busybox:1", "vllm/vllm-openai:v0.9.1")
    port = free_port()
    engine.run(
        "--name", "chat", "--publish", f"127.0.0.1:{port}:8000", *compose("shop", "chat"),
        image="vllm/vllm-openai:v0.9.1", command=("sh", "-c", "exec sleep 1000000", "--model", "meta/llama"),
    )  # fmt: skip
    engine.run("--name", "shop-chat", "--label", "PODMAN_SYSTEMD_UNIT=chat.service",
               "--label", "nimify.dev/slo=objective=0.99 latency_ms=80")  # fmt: skip
    engine.docker("tag", "nimify-test/busybox:1", "nvcr.io/nvidia/tritonserver:26.10-py3")
    metrics, http = free_port(), free_port()
    engine.run(
        "--name", "triton", "--publish", f"127.0.0.1:{metrics}:8002", "--publish", f"127.0.0.1:{http}:8000",
        image="nvcr.io/nvidia/tritonserver:26.10-py3",
    )  # fmt: skip
    desk.until_row("triton", state="OK")
    [server] = desk.replicas("triton")
    urls = [f"http://127.0.0.1:{each}" for each in (metrics, http)]
    assert [server.admin_url, server.stats_url] == urls, "where its metrics are, and its statistics"
    desk.until_row("shop-chat", state="OK")
    desk.until_row("shop-chat.container", state="OK")
    service = desk.service("shop-chat")
    assert (service.family, service.model_name) == ("vllm", "meta/llama")
    assert service.endpoint == f"http://127.0.0.1:{port}"
    assert service.labels["ports"] == f"8000->127.0.0.1:{port}"
    assert service.labels["kind"] == "Compose service"
    assert [(each.kind, each.name) for each in service.around.owners] == [("Compose project", "shop")]
    [replica] = desk.replicas("shop-chat")
    assert replica.admin_url == f"http://127.0.0.1:{port}"
    other = desk.service("shop-chat.container")
    assert [(each.kind, each.name) for each in other.around.owners] == [("systemd unit", "chat.service")]
    row = desk.row("shop-chat.container")
    assert row is not None
    assert row.slo == Slo(service="shop-chat.container", objective=0.99, latency_ms=80.0)
    engine.docker("rename", "shop-chat", "renamed")
    desk.until_row("renamed", state="OK")
    desk.until(lambda: desk.row("shop-chat.container") is None, "the old name goes")


def test_single_runs_of_compose_are_no_services(engine: Engine, desk: Acting) -> None:
    """Sabotage in the same test: the same labels without the mark of a single run are one."""
    labels = ("--label", "com.docker.compose.project=job", "--label", "com.docker.compose.service=")
    engine.run("--name", "once", *labels, "--label", "com.docker.compose.oneoff=True")
    engine.run("--name", "kept", *labels, "--label", "com.docker.compose.oneoff=False")
    desk.until_row("kept", state="OK")
    assert desk.row("once") is None


def test_hostile_labels_stay_text(engine: Engine, desk: Acting) -> None:
    engine.run(
        "--name",
        "evil",
        "--label",
        "note=\033]0;owned\007[bold]x",
        "--label",
        "nimify.dev/service=e\033[2Jvil",
    )
    desk.until(
        lambda: any("vil" in key.name for row in desk.session.frame.rows.values() for key in row.keys),
        "a row",
    )
    [key] = {key for row in desk.session.frame.rows.values() for key in row.keys if "vil" in key.name}
    found = desk.session.service(key)
    assert found is not None
    assert not any(ord(char) < 32 for text in (key.name, *found.labels.values()) for char in text)


def test_a_paused_container_and_what_was_made_and_never_started(engine: Engine, desk: Acting) -> None:
    engine.run("--name", "napping")
    desk.until_row("napping", state="OK")
    engine.docker("pause", "napping")
    desk.until_row("napping", state="DOWN", reason="is paused")
    engine.docker("unpause", "napping")
    engine.docker("create", "--name", "made", "nimify-test/busybox:1", "sleep", "1000000")
    desk.until_row("made", state="STARTING", reason="made, not started yet")
