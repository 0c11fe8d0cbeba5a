"""What is known from its makers' documentation alone says so: in samples, beside the source of numbers, in README."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from nimify_tui.domain.demands import DetailDemand
from nimify_tui.domain.measures import Measure
from nimify_tui.domain.updates import Sampled, ServiceSeen
from nimify_tui.fleet.numbers import FROM_DOCUMENTATION, NIM
from nimify_tui.sources.metrics.adapters import ADAPTERS, DOCUMENTED, Reader
from tests.fleet.town import Town
from tests.metrics import foreign, pages
from tests.metrics.test_recorded import NAMES, SAMPLES

README = Path(__file__).parents[2] / "README.md"
#: Whose rows README's table calls what.
ROWS = {
    "our runtime": "nimify", "vLLM": "vllm", "NIM": NIM, "Triton": "triton", "SGLang": "sglang",
    "TensorRT-LLM": "trtllm", "KServe": "kserve", "HTTP servers": "http", "mesh and ingress": "ingress",
}  # fmt: skip
RECORDED = (
    foreign.SGLANG_04, foreign.SGLANG_05, foreign.TRITON_TRTLLM, foreign.KSERVE_010, foreign.ISTIO, foreign.ENVOY,
    foreign.NGINX, foreign.CONTOUR, foreign.ENVOY_GATEWAY, pages.VLLM_NEW,
    pages.renamed(pages.VLLM_NEW, pages.VLLM_OLD_NAMES).decode(), pages.NIM_1, pages.TRITON,
)  # fmt: skip


def labelled(page: str) -> bool:
    found = Reader().read(page.encode(), 1.0, "test")
    assert found is not None
    return found.documented


def told(page: str) -> bool:
    """The same by way of a Prometheus, whose adapters are given what they announce."""
    found = Reader().understand(Reader()._parser.parse(page.encode()).series, 1.0, "test")
    return found is not None and found.documented


@pytest.mark.parametrize("page", [foreign.TRTLLM, pages.TRITON + pages.TRITON_HISTOGRAM])
def test_a_page_of_a_generation_that_nobody_recorded_is_labelled(page: str) -> None:
    assert labelled(page)
    assert told(page)


@pytest.mark.parametrize("page", RECORDED)
def test_names_that_a_recorded_page_has_are_not(page: str) -> None:
    """Sabotage seen failing: every page of a family in the table; Triton without histograms was labelled."""
    assert not labelled(page)
    assert not told(page)


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_page_is_not_labelled_and_takes_the_label_off_its_names(name: str) -> None:
    page = (SAMPLES / name).read_text(encoding="utf-8")
    assert not labelled(page)
    names = frozenset[str]().union(*DOCUMENTED.values())
    assert set(re.findall(r"^([a-zA-Z_:][\w:]*)", page, re.MULTILINE)).isdisjoint(names)


def test_what_is_labelled_is_read() -> None:
    wanted = {make().name: make().wanted for make in ADAPTERS}
    assert DOCUMENTED
    assert all(names and names <= wanted[family] for family, names in DOCUMENTED.items())


def test_readme_says_the_same_as_the_adapters() -> None:
    """A row for each family, each recording by its version, and a last column where one is labelled."""
    text = README.read_text(encoding="utf-8")
    table = re.search(r"\| runtime \| recorded.*?\n\|[-|]+\n(.*?)\n\n", text, re.DOTALL)
    assert table is not None
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[1].splitlines()]
    rows = {name: (recorded, documented) for name, recorded, documented in lines}
    assert {ROWS[name] for name in rows} == {make().name for make in ADAPTERS}
    assert {ROWS[name] for name, (_, documented) in rows.items() if documented} == {*DOCUMENTED, NIM}
    cells = {ROWS[name]: cell for name, (cell, _) in rows.items()}
    for name in NAMES:
        producer, version = name.removesuffix(".prom").removesuffix("-old").removesuffix("-new").rsplit("-", 1)
        cell = cells.get(producer, cells["http"])
        assert version.removesuffix(".0") in cell, f"{name} is not in README"


def _sources(town: Town, row_id: str) -> list[str]:
    detail = town.fleet.frame.details[row_id]
    return [line.measure.source for line in detail.metrics if line.measure.value is not None]


def test_the_label_stands_beside_the_source_on_the_screen_and_goes_with_its_reason() -> None:
    """In the row, each line of the metrics, the chart and the sum of regions: one track says it, not each replica."""
    town = Town({"us-east-1": {"chat": 2}, "eu-west-1": {"chat": 1}})
    town.fleet.demand(DetailDemand("chat@us-east-1"))
    town.run(30)
    plain = town.row("chat", "us-east-1").rps.source
    assert plain == "metrics of 2 replicas"
    read = {key: server.sample for key, server in town.servers.items()}
    page = Reader().read((SAMPLES / "vllm-0.32.0.prom").read_bytes(), 1.0, "test")
    assert page is not None

    def scraped(**more: object) -> None:
        town.at += 2.0
        for key, sample in read.items():
            if key.service.region == "us-east-1":
                told_now = msgspec.structs.replace(sample(town.at), tokens=page.tokens, **more)
                town.fleet.apply(Sampled(town.at, key, told_now))
        town.fleet.publish(town.at)

    scraped(documented=True)
    row = town.row("chat", "us-east-1")
    shown: list[Measure] = [row.rps, row.p50, row.p95, row.error_ratio, town.row("chat").rps]
    assert all(FROM_DOCUMENTATION in each.source for each in shown)
    assert row.rps.source == f"{plain}, {FROM_DOCUMENTATION}"
    assert FROM_DOCUMENTATION not in town.row("chat", "eu-west-1").rps.source
    sources = _sources(town, "chat@us-east-1")
    assert len(sources) > 10
    assert all(FROM_DOCUMENTATION in each for each in sources)
    assert FROM_DOCUMENTATION in town.fleet.frame.details["chat@us-east-1"].history.source

    scraped(documented=False)
    assert town.row("chat", "us-east-1").rps.source == plain

    service = next(each for key, each in town.services.items() if key.region == "us-east-1")
    town.fleet.apply(ServiceSeen(town.at, msgspec.structs.replace(service, family=NIM)))
    scraped(runtime="vllm")
    assert FROM_DOCUMENTATION in town.row("chat", "us-east-1").rps.source, "NIM 2.x has its backend's names"
    scraped(runtime=NIM)
    assert town.row("chat", "us-east-1").rps.source == plain
