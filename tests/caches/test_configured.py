"""Which caches a region names by the configuration, what of it cannot be, and what runs for it."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from nimify_tui.base.clock import SystemClock
from nimify_tui.cachewatch import CacheWatch
from nimify_tui.config import check, load
from nimify_tui.headless import doctor
from nimify_tui.monitors import Monitors
from nimify_tui.sources.caches.edge import EdgeProbe
from nimify_tui.sources.caches.exporter import ExportedRedis
from nimify_tui.sources.caches.redis import RedisWatch
from tests.caches.stand import port
from tests.metrics.prom import serving

GOOD = """
[[region]]
name = "a"
edge = "https://models.example/v2/health/ready"
[region.redis]
url = "rediss://cache-1:6380"
username = "watcher"
password = {env = "REDIS_SECRET"}
[[region]]
name = "b"
prometheus = "http://h:9090"
redis = "prometheus"
[region.edge]
url = "http://[::1]/x"
every = "1m"
[[region]]
name = "c"
"""


def test_each_region_is_watched_as_it_says(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(GOOD)
    config = load([file], {})
    monitors = Monitors(config, (), lambda _: None, SystemClock())
    made = CacheWatch(config, (), monitors.server, SystemClock())
    assert (len(made.fleet_work(numbers=True)), len(made.fleet_work(numbers=False))) == (1, 0)
    kinds = [[type(each) for each in made._of(item)] for item in made._told]
    assert kinds == [[RedisWatch, EdgeProbe], [ExportedRedis, EdgeProbe]]
    assert CacheWatch(config, ("c",), monitors.server, SystemClock()).fleet_work(numbers=True) == ()
    shown = {key: value for key, value, _ in config.rows()}
    assert shown["region[0].redis.password"] == "{env = 'REDIS_SECRET'}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('redis = "redis://u@h"', "has a login in its address"),
        ('redis = "http://h"', "is no address of a Redis"),
        ('redis = "prometheus"', "needs the prometheus of its region"),
        ('redis = {url = "redis://h", ca_file = "x"}', "means nothing without TLS"),
        ('redis = {url = "redis://h", instance = "h:1"}', "means nothing where the Redis itself is asked"),
        ('redis = {url = "redis://h", username = "u"}', "needs password beside it"),
        ('redis = {url = "redis://h", password = "geheim"}', "a secret must not stand here in clear"),
        ('redis = {url = "redis://h", password = {keyring = "x"}}', "from env and file alone"),
        ('prometheus = "http://h:9090"\nredis = {url = "prometheus", instance = "a\\"b"}', "is no address of a target"),
        ('redis = "redis://cache..prod:6379"', "is no address of a Redis"),
        (f'redis = "redis://{"a" * 64}.prod"', "is no address of a Redis"),
        (f'redis = "redis://{"ä" * 63}.prod"', "is no address of a Redis"),
        ('edge = "h"', "is no address of an edge"),
        ('edge = "https://cdn..example/x"', "is no address of an edge"),
        ('edge = {url = "http://h", every = "often"}', "every"),
    ],
)
def test_what_cannot_be_is_said_at_its_key(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[[region]]\nname = "a"\n{text}\n')
    found = [f"{each.key} {each.text}" for each in check([file], {})]
    assert any(words in each for each in found), found


def test_the_doctor_asks_each_and_says_what_helps(tmp_path: Path) -> None:
    with serving(lambda _: (200, b"plain")) as at:
        file = tmp_path / "config.toml"
        file.write_text(
            f'[[region]]\nname = "a"\nredis = "redis://127.0.0.1:{port()}"\nedge = "http://127.0.0.1:{at}/x"\n'
        )
        options = argparse.Namespace(config=str(file), read_only=False, read_write=False, kubeconfig="")
        found = {each.what: (each.good, each.text) for each in doctor._monitors(options)}
    assert found["Redis of a"][0] is False
    assert "connection refused" in found["Redis of a"][1]
    assert "says nothing of a cache" in found["edge of a"][1]
