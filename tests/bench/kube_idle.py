"""Ten idle minutes on a real cluster, by its own audit log: what a console asks for when nothing happens.

The numbers of pods, which it reads where no Prometheus has them, are a row of their own.
"""

from __future__ import annotations

from collections import Counter

from nimify_tui.sources.metrics.turns import CAP_RPS
from tests.bench.harness import Result, at_most, pause
from tests.bench.kube_lab import crowded, watching
from tests.kube.cluster import Cluster
from tests.support import private_home

IDLE_S, SETTLE_S = 600.0, 20.0
OPENS_BAR = 3
#: Where no Prometheus has them, the numbers are read from the pods: at most so many requests a second.
PAGES_BAR = CAP_RPS


def asked(cluster: Cluster, begin: int) -> Counter[tuple[str, str]]:
    """(verb, resource or path) of the console's requests since line ``begin`` of the audit log."""
    found: Counter[tuple[str, str]] = Counter()
    for each in cluster.audited()[begin:]:
        begun = each["stage"] == "ResponseStarted" if each["verb"] == "watch" else each["stage"] == "ResponseComplete"
        if each.get("userAgent", "").startswith("nimify-tui/") and begun:
            path, what = each["requestURI"].partition("?")[0], each.get("objectRef", {})
            found[each["verb"], "/".join(filter(None, (what.get("resource"), what.get("subresource")))) or path] += 1
    return found


def run(idle_s: float = IDLE_S) -> list[Result]:
    """The whole console: lists, reviews of rights, opens of the watch that was opened most, other things."""
    with crowded(2, 5) as cluster, private_home() as home, watching(home, cluster.folder / "kubeconfig") as watcher:
        watcher.when(lambda text: "5/5" in text, 60, "the rows")
        pause(SETTLE_S)
        begin = len(cluster.audited())
        pause(idle_s)
        found = asked(cluster, begin)
    beats = found.pop(("get", "/livez"), 0)
    problems = [] if beats >= 0.8 * idle_s / 5 else [f"only {beats} heartbeats"]
    lists = sum(count for (verb, _), count in found.items() if verb == "list")
    reviews = sum(count for (_, what), count in found.items() if what.endswith("reviews"))
    opens = max((count for (verb, _), count in found.items() if verb == "watch"), default=0)
    discoveries = found.pop(("get", "/apis"), 0)
    pages = found.pop(("get", "pods/proxy"), 0)
    others = {f"{verb} {what}": count for (verb, what), count in found.items() if verb not in ("list", "watch")}
    detail = {"heartbeats": beats, "discoveries": discoveries, "seconds": round(idle_s)}
    return [
        at_most("ten idle minutes: pods asked for their numbers", round(pages / idle_s, 2), "/s", PAGES_BAR),
        at_most("ten idle minutes: lists", lists, "", 0, detail, problems),
        at_most("ten idle minutes: reviews of rights", reviews, "", 0, {}, problems),
        at_most("ten idle minutes: opens of one watch", opens, "", OPENS_BAR, {}, problems),
        at_most("ten idle minutes: anything else", sum(others.values()), "", 0, others, problems),
    ]
