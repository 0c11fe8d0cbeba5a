"""What an Alertmanager's statuses mean, each with what helps (bodies as of 0.25.0), and times of no calendar."""

from __future__ import annotations

import json

import pytest

from nimify_tui.backends.alertmanager.errors import SilenceRefused, from_status
from nimify_tui.backends.alertmanager.server import _alerts, _silences, _status
from nimify_tui.backends.prometheus.errors import BadAnswer, LoginRefused, ServerTrouble, Throttled
from nimify_tui.backends.prometheus.errors import from_status as of_prometheus
from nimify_tui.base.clock import rfc3339
from nimify_tui.base.errors import NimifyError
from nimify_tui.ui.format import date_clock


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, b"", LoginRefused, "does not accept the login (401): check token"),
        (403, b"", LoginRefused, "does not allow it (403): check the rights"),
        (404, b"404 page not found\n", BadAnswer, "has no Alertmanager API there (404): give the"),
        (302, b"", BadAnswer, "sends us on (status 302): a login page?"),
        (429, b"", Throttled, "asks for fewer requests (429)"),
        (500, b'"silence not found"\n', ServerTrouble, "am: silence not found"),
        (503, b"<html>", ServerTrouble, "am answers 503"),
        (400, b'"bad matcher format"', SilenceRefused, "am: bad matcher format"),
        (422, b'{"code":612,"message":"matchers in body should have at least 1 items"}', SilenceRefused,
         "am: matchers in body should have at least 1 items"),
        (401, b'no org id\n', LoginRefused, "does not accept the tenant (401: no org id): set the right tenant"),
        (400, b'{"message":"no org id"}', LoginRefused, "does not accept the tenant (400: no org id): set the right"),
        (500, b"[" * 100_000, ServerTrouble, "am answers 500"),
    ],
)  # fmt: skip
def test_statuses(status: int, body: bytes, kind: type[NimifyError], words: str) -> None:
    made = from_status(status, body, "am", "7")
    assert type(made) is kind
    assert words in str(made)
    if isinstance(made, Throttled):
        assert made.retry_after_s == 7.0
        for asked in ("0", "00"):  # seen failing: it was asked again without a pause
            for of in (from_status, of_prometheus):
                now = of(status, body, "am", asked)
                assert isinstance(now, Throttled)
                assert now.retry_after_s == 1.0


def test_times_of_no_calendar_are_bounded() -> None:
    """Sabotage seen failing: the timestamp as it is, of which no clock on the screen can be made."""
    for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        alert = {"fingerprint": "f", "labels": {}, "startsAt": text}
        silence = {"id": "s", "matchers": [], "startsAt": text, "endsAt": text}
        for at in (
            _alerts(json.dumps([alert]).encode()).alerts[0].since,
            _silences(json.dumps([silence]).encode())[0].ends_at,
            _status(json.dumps({"uptime": text}).encode()).started_at,
        ):
            assert rfc3339(at)
            assert date_clock(at, 1_800_000_000.0)
