"""dcgm-exporter's pages understood: what is not told is not known, slices and shares are what they are, and an XID that
stays is told once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nimify_tui.domain.gpus import Gpu
from nimify_tui.domain.measures import MeasureState
from nimify_tui.sources.gpu_faults import GpuFaults
from nimify_tui.sources.metrics import dcgm
from nimify_tui.sources.metrics.dcgm_xids import XidHistory
from nimify_tui.sources.metrics.exposition import Parser
from nimify_tui.ui.present.gpu_table import gpu_detail
from nimify_tui.ui.present.gpus import whole_lines
from tests.metrics.dcgm_pages import A30, SHARED, a800, ada

AT = 1_000_000.0


def read(page: str, node: str = "", at: float = AT) -> list[dcgm.Card]:
    return dcgm.cards(dcgm.said_by(Parser(dcgm.WANTED).parse(page.encode()), at), dcgm.Way("DCGM", 30.0, node))


def test_a_page_of_the_default_counters_is_a_gpu_and_what_it_lacks_is_not_zero() -> None:
    (card,) = read(ada())
    one = card.gpu
    assert (one.node, one.index, one.name) == ("lke529760-766837-0a634ab30000", 0, "RTX 4000 Ada Generation")
    assert one.pods == ("default/cuda-75454ffb9f-8ljq7",)
    assert (one.temperature.value, one.power.value, one.clock.value) == (48.0, 40.979, 2310.0)
    assert (one.memory_used.value, one.memory_total.value) == (2**20, (20015 + 1 + 457) * 2**20)
    assert (one.utilisation.value, one.tensor_active.value) == (0.0, 0.0)
    assert one.dram_active.value == pytest.approx(0.3074)
    assert (one.pcie_sent.value, one.pcie_received.value, one.pcie_replays.value) == (78398480, 45987793, 0)
    assert (one.utilisation.at, one.utilisation.source, one.every_s) == (AT, "DCGM", 30.0)
    # Sabotage seen failing: a field that is not there read as 0.
    for fact, field in (("ecc_uncorrected", "ECC_DBE_VOL_TOTAL"), ("temperature_limit", "SLOWDOWN_TEMP"),
                        ("power_limit", "ENFORCED_POWER_LIMIT"), ("nvlink_sent", "NVLINK_TX_BYTES")):  # fmt: skip
        measure = getattr(one, fact)
        assert measure.state is MeasureState.ABSENT
        assert measure.reason.startswith("not exported: DCGM_FI_")
        assert measure.reason.endswith(field)
    assert (one.slowed, one.pcie, one.shared, card.last_xid, card.counts) == ((), "", 0, 0, None)
    # Seen failing: nobody tells whether it is slowed, and it read as not slowed.
    assert one.slowed_unknown == "not exported: DCGM_FI_DEV_CLOCKS_EVENT_REASONS"
    assert "slowed –" in "".join(text for line in whole_lines(one, why=False) for text, _ in line)
    assert "DCGM_FI_DEV_CLOCKS_EVENT_REASONS" in "".join(text for line in gpu_detail(one, AT, 9) for text, _ in line)
    (told,) = read(ada(DCGM_FI_DEV_CLOCKS_EVENT_REASONS="0"))
    assert told.gpu.slowed_unknown == ""
    assert "(not slowed)" in "".join(text for line in whole_lines(told.gpu) for text, _ in line)


@pytest.mark.parametrize("blank", ["9223372036854775792", "2147483632", "2147483634", "NaN", "-1"])
def test_a_blank_of_dcgm_is_no_number(blank: str) -> None:
    (card,) = read(ada(GPU_UTIL=blank, GPU_TEMP=blank, FB_USED=blank))
    assert (card.gpu.utilisation.value, card.gpu.temperature.value, card.gpu.memory_used.value) == (None, None, None)
    assert card.gpu.utilisation.reason == "DCGM has no value for it"


def test_the_newer_name_of_the_host_and_the_direct_way_give_the_node() -> None:
    assert read(ada().replace("Hostname=", "hostname="))[0].gpu.node == "lke529760-766837-0a634ab30000"
    assert read(ada(), node="n7")[0].gpu.node == "n7"
    assert read(A30)[0].gpu.node == "dcgm-exporter-sn5rp"


def test_a_card_in_slices_is_not_measurable_and_each_slice_is() -> None:
    sliced, whole = read(a800())
    assert sliced.gpu.slices == 3
    for measure in (sliced.gpu.utilisation, sliced.gpu.memory_used, sliced.gpu.tensor_active):
        assert (measure.value, measure.reason) == (None, "not measurable: MIG")
    assert (sliced.gpu.temperature.value, sliced.gpu.clock.value) == (33.0, 1410.0)
    assert [each.instance for each in sliced.slices] == ["2g.20gb #3", "2g.20gb #5", "2g.20gb #6"]
    assert {each.memory_total.value for each in sliced.slices} == {19967 * 2**20}
    assert {each.utilisation.reason for each in sliced.slices} == {"not exported: DCGM_FI_PROF_GR_ENGINE_ACTIVE"}
    assert (whole.gpu.slices, whole.slices, whole.gpu.utilisation.value) == (0, (), 0.0)
    (working,) = read(A30)
    (slice_,) = working.slices
    assert slice_.utilisation.value == pytest.approx(38.1124)
    assert slice_.tensor_active.value == pytest.approx(2.2137)
    assert (slice_.utilisation.source, slice_.pods) == ("DCGM, engine", ())


def test_pods_that_share_a_card_are_counted_and_the_exporter_is_none_of_them() -> None:
    said = [dcgm.Said("DCGM_FI_DEV_GPU_UTIL", labels, 71.0, AT) for labels in SHARED]
    (card,) = dcgm.cards(said, dcgm.Way("DCGM", 30.0))
    assert (card.gpu.shared, card.gpu.utilisation.value) == (3, 71.0)
    assert card.gpu.pods == ("default/pod1", "default/pod2", "somenamespace/pod3")
    # Nobody has it: the server's own labels name the exporter. Seen failing with those taken for a holder.
    idle = {name: value for name, value in SHARED[0].items() if not name.startswith("exported_")}
    assert dcgm.cards([dcgm.Said("DCGM_FI_DEV_GPU_UTIL", idle, 0.0, AT)], dcgm.Way("DCGM", 30.0))[0].gpu.pods == ()
    old = {"gpu": "0", "Hostname": "n1", "UUID": "u", "pod_name": "chat-1", "pod_namespace": "ml"}
    (card,) = dcgm.cards([dcgm.Said("DCGM_FI_DEV_GPU_UTIL", old, 0.0, AT)], dcgm.Way("DCGM", 30.0))
    assert card.gpu.pods == ("ml/chat-1",)


@pytest.mark.parametrize(
    ("fields", "words", "fault"),
    [
        ({"DCGM_FI_DEV_CLOCKS_EVENT_REASONS": "1"}, (), False),
        ({"DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": "4"}, ("power cap",), False),
        ({"DCGM_FI_DEV_CLOCKS_EVENT_REASONS": "72"}, ("hardware slowdown", "heat (hardware)"), True),
    ],
)
def test_why_the_clocks_are_held_down(fields: dict[str, Any], words: tuple[str, ...], fault: bool) -> None:
    (card,) = read(ada(**fields))
    assert (card.gpu.slowed, card.gpu.slowed_by_fault) == (words, fault)


def test_events_of_the_clocks_the_link_and_lost_rows_are_told() -> None:
    at = 'gpu="0",UUID="GPU-a8394b51-c086-568a-9f1a-c1e1c934c44c",Hostname="lke529760-766837-0a634ab30000"'
    more = "".join(
        f'DCGM_EXP_CLOCK_EVENTS_COUNT{{{at},clock_event="{name}",window_size_in_ms="300000"}} {count}\n'
        for name, count in (("gpu_idle", 9), ("sw_thermal", 2), ("hw_power_brake", 0))
    )
    link = {"DCGM_FI_DEV_PCIE_LINK_GEN": "4", "DCGM_FI_DEV_PCIE_LINK_WIDTH": "8",
            "DCGM_FI_DEV_PCIE_MAX_LINK_WIDTH": "16"}  # fmt: skip
    (card,) = read(ada(ROW_REMAP_FAILURE="1", **link) + more)
    assert (card.gpu.slowed, card.gpu.slowed_by_fault) == (("heat",), True)
    assert (card.gpu.pcie, card.gpu.link_narrow) == ("gen4 x8 of x16", True)
    assert card.gpu.note == "a memory row could not be remapped: replace the card"


# -- XIDs --------------------------------------------------------------------------------------------------------------


def seen(history: XidHistory, page: str, at: float) -> tuple[Gpu, list[str]]:
    gpus, events = history.told(read(page, at=at), "DCGM")
    return gpus[0], [f"{each.event.category} {each.event.text}" for each in events]


def counted(xid: int, count: int) -> str:
    at = 'gpu="0",UUID="GPU-a8394b51-c086-568a-9f1a-c1e1c934c44c",Hostname="lke529760-766837-0a634ab30000"'
    return ada() + f'DCGM_EXP_XID_ERRORS_COUNT{{{at},window_size_in_ms="300000",xid="{xid}"}} {count}\n'


def test_an_xid_that_stays_is_told_once_and_not_again_after_a_restart_of_ours(tmp_path: Path) -> None:
    """Seen failing with each reading that is not 0 taken for a fault: the same XID came with each."""
    node = "lke529760-766837-0a634ab30000/0"
    history = XidHistory("us", GpuFaults(tmp_path / "faults.json"))
    assert seen(history, ada(), AT)[1] == []
    card, events = seen(history, ada(XID_ERRORS="79"), AT + 30)
    assert events == [f"gpu XID 79 {node}: fell off the bus"]
    assert (card.faults[0].at, card.faults[0].latest, card.region) == (AT + 30, False, "us")
    assert card.note.startswith("XID 79, fell off the bus ")
    assert seen(history, ada(XID_ERRORS="79"), AT + 60)[1] == []
    history.write()
    again = XidHistory("us", GpuFaults(tmp_path / "faults.json"))
    card, events = seen(again, ada(XID_ERRORS="79"), AT + 90)
    assert (events, len(card.faults)) == ([], 1)
    # The exporter began anew, and the same came again.
    seen(again, ada(), AT + 120)
    assert len(seen(again, ada(XID_ERRORS="79"), AT + 150)[1]) == 1


def test_an_xid_that_was_there_before_us_says_that_it_may_be_older() -> None:
    card, events = seen(XidHistory("us", GpuFaults()), ada(XID_ERRORS="48"), AT)
    assert (card.faults[0].latest, card.note[:28]) == (True, "XID 48, double-bit ECC error")
    assert "by now: double-bit ECC error" in events[0]
    # A program's fault of before is no news. Seen failing with an event for each.
    card, events = seen(XidHistory("us", GpuFaults()), ada(XID_ERRORS="31"), AT)
    assert (card.faults[0].latest, card.faults[0].hardware, events) == (True, False, [])


def test_where_xids_are_counted_the_same_one_twice_is_two() -> None:
    """Seen failing with the gauge alone, which tells none of them here."""
    history = XidHistory("us", GpuFaults())
    told = [len(seen(history, page, AT + 30 * step)[1])
            for step, page in enumerate((counted(0, 0), counted(48, 1), counted(48, 1), counted(48, 2), counted(0, 0),
                                         counted(48, 1)))]  # fmt: skip
    assert told == [0, 1, 0, 1, 0, 1]
