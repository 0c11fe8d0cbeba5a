"""Certificates on the way to a region that are about to end."""

from __future__ import annotations

from nimify_tui.domain.alerts import Alerts, AlertState
from nimify_tui.domain.regions import CertificateSeen, RegionHealth, RegionState
from nimify_tui.domain.updates import RegionSeen
from nimify_tui.fleet.store import Fleet
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
