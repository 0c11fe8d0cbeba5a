"""Alerts about what is no service: GPUs, and certificates on the way to a region."""

from __future__ import annotations

from nimify_tui.domain.alerts import Alerts, AlertState
from nimify_tui.domain.gpus import Gpu, GpuPanel
from nimify_tui.domain.measures import Measure, absent
from nimify_tui.domain.regions import CertificateSeen, RegionHealth, RegionState
from nimify_tui.domain.updates import GpusSeen, RegionSeen
from nimify_tui.fleet.store import Fleet
from tests.fleet.test_alarms import alerts, one, status, town
from tests.fleet.town import START_AT, region_fact


def test_a_certificate_that_ends_within_a_day_is_told_of_whatever_the_region_says() -> None:
    """A sound one is judged, and alone makes no "0 alerts" of a fleet that nobody could judge."""
    made = Fleet()

    def see(at: float, *certificates: CertificateSeen, state: RegionState = RegionState.LIVE) -> Alerts:
        health = RegionHealth(state=state, since=START_AT, certificates=certificates)
        made.apply(RegionSeen(at, region_fact("us-east-1"), health))
        return made.publish(at).alerts

    server = CertificateSeen("the API server's certificate", START_AT + 3 * 86400.0)
    own = CertificateSeen("this host's client certificate", START_AT + 86500.0)
    told = see(START_AT + 1, server, own)
    assert told.alerts == ()
    assert next(each.judged for each in told.rules if each.rule == "CertificateExpiring") == 2
    assert made.frame.summary.alerts is None, "nothing is known of services"

    (alert,) = see(START_AT + 7200, server, own, state=RegionState.DOWN).alerts
    assert (alert.region, alert.subject, alert.state) == ("us-east-1", own.what, AlertState.FIRING)
    assert alert.text == "ends in 22 h, 2027-01-16 08:01Z", alert.text
    again = see(START_AT + 7201, server, own)
    assert again is see(START_AT + 7202, server, own), "it is not another alert each second"
    (alert,) = see(START_AT + 86600, server, own).alerts
    assert alert.text.startswith("has ended, ")
    renewed = CertificateSeen(own.what, START_AT + 400 * 86400.0)
    for second in range(90):
        told = see(START_AT + 86700 + second, server, renewed)
    assert told.alerts == ()
    assert see(START_AT + 86800).alerts == ()


def gpu(at: float, value: float | None) -> Gpu:
    unknown = absent("bytes", "not asked")
    busy = Measure(value, "percent", at, "NVML") if value is not None else absent("percent", "the driver does not say")
    return Gpu(
        node="gpu-1", index=0, uuid="GPU-1", name="H100", utilisation=busy, memory_used=unknown,
        memory_total=unknown, temperature=unknown, power=unknown,
    )  # fmt: skip


def test_a_busy_gpu_warns_after_ten_minutes_and_fits_no_service() -> None:
    made = town()

    def go(seconds: int, value: float | None) -> None:
        for _ in range(seconds):
            made.fleet.apply(GpusSeen(made.at, "gpu-1", GpuPanel(at=made.at, gpus=(gpu(made.at, value),))))
            made.run(1)

    go(590, 95.0)
    assert one(made, "UtilisationHigh").state is AlertState.PENDING
    go(15, 95.0)
    found = one(made, "UtilisationHigh")
    assert (found.state, found.key, found.region, found.subject) == (AlertState.FIRING, None, "gpu-1", "GPU 0")
    go(120, None)
    assert one(made, "UtilisationHigh").unjudged == "the driver does not say"
    go(70, 20.0)
    assert alerts(made, "UtilisationHigh") == []
    made.run(60)
    assert status(made, "UtilisationHigh")[:2] == (0, 1)


def test_a_gpu_that_no_reading_tells_of_keeps_its_alert_for_a_while() -> None:
    """Seen failing with alerts that end as soon as their GPU is not in the panel: a reading that failed ended them."""
    made = town()

    def go(seconds: int, *gpus: Gpu) -> None:
        for _ in range(seconds):
            made.fleet.apply(GpusSeen(made.at, "gpu-1", GpuPanel(at=made.at, gpus=gpus)))
            made.run(1)

    for _ in range(610):
        go(1, gpu(made.at, 95.0))
    go(2)
    found = one(made, "UtilisationHigh")
    assert (found.state, found.unjudged) == (AlertState.FIRING, "not told any more")
    for _ in range(5):
        go(1, gpu(made.at, 95.0))
    assert one(made, "UtilisationHigh").fired_at == found.fired_at, "it is the same one"
    go(605)
    assert alerts(made, "UtilisationHigh") == [], "nobody knows of that GPU any more"
