"""What Alertmanagers tell: alerts with where they came from, silences, and whether alerting itself works."""

from __future__ import annotations

import enum
import re

import msgspec

from nimify_tui.base.errors import ValidationError

#: An alert of one of these names fires always, on purpose: where it is missing, alerts do not arrive. The first is
#: the one of kube-prometheus (prometheus-operator/kube-prometheus, jsonnet/.../general.libsonnet), the others its
#: older names.
WATCHDOGS = frozenset({"Watchdog", "DeadMansSwitch", "DeadMansSnitch"})
#: Times in its API have milliseconds.
_SAME_S = 0.002
_MATCHER = re.compile(
    r'(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<sign>=~|!~|!=|=)(?:"(?P<quoted>[^"]*)"|(?P<bare>[^"].*|))', re.DOTALL
)
#: Labels that say of which region an alert is, where a Prometheus (external_labels) or a rule sets one.
_REGIONS = ("region", "cluster")
Labels = tuple[tuple[str, str], ...]


class Matcher(msgspec.Struct, frozen=True):
    """One condition of a silence on a label."""

    name: str
    value: str
    regex: bool = False
    equal: bool = True

    @property
    def text(self) -> str:
        """As amtool writes it: ``pod=~"web-.*"``; foreign text, to be cleaned where it is shown."""
        sign = ("=~" if self.regex else "=") if self.equal else ("!~" if self.regex else "!=")
        return f'{self.name}{sign}"{self.value}"'


def matcher_of(text: str) -> Matcher:
    """``pod=~web-.*``, with quotes around its value or without. Raises ValidationError."""
    match = _MATCHER.fullmatch(text.strip())
    if match is None:
        remedy = 'write it like alertname=X, pod=~"web-.*", severity!=info'
        raise ValidationError(f"{text[:80]!r} is no matcher", remedy)
    value = match["quoted"] if match["quoted"] is not None else match["bare"]
    return Matcher(match["name"], value, regex="~" in match["sign"], equal=match["sign"].startswith("="))


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts that match all ``matchers`` notify nobody until ``ends_at`` (unix seconds). ``id`` "": not made yet.

    ``active``: its Alertmanager says that it holds now; one that is there may wait for its time.
    """

    matchers: tuple[Matcher, ...]
    ends_at: float
    by: str
    comment: str
    id: str = ""
    starts_at: float = 0.0
    active: bool = False

    def means(self, other: Silence) -> bool:
        """Whether it is the same: by its id, or where one has none by all else (an Alertmanager moves the start)."""
        if self.id and other.id:
            return self.id == other.id
        said = set(self.matchers) == set(other.matchers) and (self.by, self.comment) == (other.by, other.comment)
        return said and abs(self.ends_at - other.ends_at) < _SAME_S


class ToldAlert(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One alert as one Alertmanager tells it; ``silences`` are the ids of those that hold it back."""

    fingerprint: str
    labels: Labels
    annotations: Labels
    since: float
    silences: tuple[str, ...] = ()
    inhibited: bool = False

    def label(self, *names: str) -> str:
        """The first of these labels that it has, "" for none."""
        had = dict(self.labels)
        return next((had[name] for name in names if had.get(name)), "")

    @property
    def name(self) -> str:
        """Its alertname."""
        return next((value for name, value in self.labels if name == "alertname"), "")


def place_of(alert: ToldAlert, asked: tuple[str, ...], known: frozenset[str]) -> str:
    """The region of an alert: the known one that it names, else the first of those whose Alertmanager tells it."""
    named = [value for name, value in alert.labels if name in _REGIONS and value in known]
    return named[-1] if named else asked[0]  # they are sorted: the region goes before the cluster


class ManagerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One Alertmanager as it was seen last, for the ``regions`` that name it.

    ``answered_at`` None: it has not answered yet. ``cause`` says why it does not answer now ("": it does), and
    ``next_try_at`` when it is asked again; ``alerts`` are then those of its last answer. ``left_out`` counts alerts
    beyond what is read.
    """

    origin: str
    regions: tuple[str, ...]
    answered_at: float | None = None
    alerts: tuple[ToldAlert, ...] = ()
    silences: tuple[Silence, ...] = ()
    left_out: int = 0
    version: str = ""
    started_at: float | None = None
    cause: str = ""
    remedy: str = ""
    since: float = 0.0
    next_try_at: float | None = None


class ManagerState(enum.StrEnum):
    """Whether one Alertmanager tells anything."""

    ASKING = "not asked yet"
    WORKS = "works"
    NO_WATCHDOG = "no Watchdog"
    SILENT = "no answer"


class Manager(msgspec.Struct, frozen=True, kw_only=True):
    """One Alertmanager in a row: its state since when, in words, with what helps."""

    origin: str
    regions: tuple[str, ...]
    state: ManagerState
    text: str
    remedy: str = ""
    next_try_at: float | None = None


class Origin(msgspec.Struct, frozen=True, gc=False):
    """An Alertmanager that has an alert; ``silenced``/``inhibited`` there, ``stale``: it does not answer now."""

    name: str
    silenced: bool = False
    inhibited: bool = False
    stale: bool = False


class Managed(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as all Alertmanagers of its region tell it: one, however many have it.

    ``silences`` are those that hold it back anywhere. ``region`` is that of the Alertmanager that is asked to silence
    it.
    """

    name: str
    fingerprint: str
    labels: Labels
    annotations: Labels
    since: float
    origins: tuple[Origin, ...]
    silences: tuple[Silence, ...] = ()

    @property
    def held_back(self) -> bool:
        """True when no Alertmanager notifies anybody of it."""
        return all(each.silenced or each.inhibited for each in self.origins)

    @property
    def stale(self) -> bool:
        """True when none of those that told of it answers now."""
        return all(each.stale for each in self.origins)
