"""The services and regions of the drawn fleet."""

from __future__ import annotations

from nimify_tui.domain.regions import RegionState
from nimify_tui.fleet.frames import RegionRow, ServiceRow
from tests.ui.pieces import NOW, REGIONS, S, region, row


def drawn_rows() -> tuple[list[ServiceRow], dict[str, list[ServiceRow]]]:
    """The fourteen services of the drawn fleet and the unfolded rows of the first one."""
    use1, usw2, euw1, euc1, apne1 = REGIONS[0], REGIONS[1], REGIONS[2], REGIONS[3], REGIONS[5]
    rows = [
        row(
            "llama-chat",
            (euw1, use1, usw2),
            S.DEGRADED,
            family="nim",
            ready=5,
            desired=6,
            rps=212,
            p=(0.64, 1.9, 3.2),
            err=0.012,
            burn=14.4,
            since_s=357,
            reason="OOM at 16Gi",
            revisions=(11, 12),
        ),
        row(
            "fraud-score", (apne1,), S.UNKNOWN, ready=None, desired=2, since_s=41, reason="no contact; was OK"
        ),
        row(
            "rerank-v2",
            (usw2,),
            S.DEGRADED,
            family="triton",
            ready=2,
            desired=2,
            rps=88,
            p=(0.021, 0.097, 0.24),
            err=0.0,
            burn=2.1,
            since_s=1320,
            reason="p95 over 80 ms (SLO)",
        ),
        row(
            "asr-large",
            (euc1,),
            S.STARTING,
            family="nim",
            ready=0,
            since_s=120,
            reason="loading weights 61 %",
        ),
        row(
            "embed-e5",
            REGIONS,
            family="triton",
            ready=12,
            desired=12,
            rps=611,
            p=(0.009, 0.038, 0.061),
            err=0.0,
            burn=0.1,
        ),
        row("toxicity", REGIONS, ready=12, desired=12, rps=204, p=(0.003, 0.007, 0.012), err=0.0, burn=0.0),
        row("ocr-lines", (use1, euw1), ready=4, desired=4, rps=61, p=(0.018, 0.044, 0.07), err=0.0, burn=0.2),
        row(
            "guard-7b",
            (use1,),
            family="vllm",
            ready=2,
            desired=2,
            rps=33,
            p=(0.31, 0.82, 1.1),
            err=0.0,
            burn=0.4,
        ),
        row("spell-fix", REGIONS[:4], ready=8, desired=8, rps=47, p=(0.002, 0.005, 0.008), err=0.0, burn=0.0),
        row("rank-lgbm", REGIONS, ready=6, desired=6, rps=39, p=(0.001, 0.002, 0.004), err=0.0, burn=0.0),
        row(
            "vision-l14",
            (euw1,),
            family="triton",
            ready=3,
            desired=3,
            rps=12,
            p=(0.055, 0.088, 0.12),
            err=0.0,
            burn=0.1,
        ),
        row(
            "tts-multi",
            (usw2,),
            family="nim",
            ready=1,
            desired=1,
            rps=4,
            p=(0.21, 0.39, 0.47),
            err=0.0,
            slo=False,
        ),
        row(
            "summar-8b",
            (use1,),
            family="nim",
            ready=2,
            desired=2,
            rps=3,
            p=(0.9, 2.1, 2.8),
            err=0.0,
            burn=0.2,
        ),
        row(
            "batch-llm",
            (use1,),
            S.STOPPED,
            family="vllm",
            ready=0,
            desired=0,
            since_s=3 * 3600,
            reason="stopped by ops",
        ),
    ]
    llama = [
        row(
            "llama-chat",
            (euw1,),
            S.DEGRADED,
            family="nim",
            ready=1,
            desired=2,
            rps=70,
            p=(1.1, 3.1, 3.2),
            err=0.035,
            burn=43.0,
            since_s=357,
            reason="OOM at 16Gi",
            depth=1,
        ),
        row(
            "llama-chat",
            (use1,),
            family="nim",
            ready=2,
            desired=2,
            rps=80,
            p=(0.5, 0.9, 1.0),
            err=0.0,
            burn=0.2,
            depth=1,
        ),
        row(
            "llama-chat",
            (usw2,),
            family="nim",
            ready=2,
            desired=2,
            rps=62,
            p=(0.5, 0.8, 0.9),
            err=0.0,
            burn=0.1,
            depth=1,
            revisions=(11,),
        ),
    ]
    return rows, {"llama-chat": llama}


def drawn_regions() -> tuple[RegionRow, ...]:
    """Five live ones, one without contact."""
    return (
        region("us-east-1", rps=412, p95=0.038),
        region("us-west-2", rps=231, p95=0.041),
        region("eu-west-1", rps=190, p95=1.9, worst=S.DEGRADED),
        region("eu-central-1", rps=203, p95=0.044),
        region("ap-southeast-1", rps=204, p95=0.046),
        region(
            "ap-northeast-1",
            RegionState.DOWN,
            rps=None,
            p95=None,
            worst=S.UNKNOWN,
            last_contact_at=NOW - 41,
            cause="connect timed out",
            next_try_at=NOW + 7,
        ),
    )
