"""A real runtime's page tells runs that the model failed from what clients asked wrongly, though both are 422."""

from __future__ import annotations

from nimify_tui.domain.measures import ReplicaSample
from nimify_tui.fleet.counters import FAILED_RUN
from nimify_tui.sources.metrics.adapters import Reader
from tests import models_factory
from tests.serving.servers import Server, running, tensor


def sampled(server: Server) -> ReplicaSample:
    sample = Reader().read(server.ask("GET", "/metrics", admin=True).body, 1.0, "")
    assert sample is not None
    return sample


def test_a_run_that_the_model_failed_is_counted_as_one() -> None:
    with running(models_factory.reshape()) as server:
        x = tensor("x", [6], "FP32", [1, 2, 3, 4, 5, 6])
        for _ in range(3):
            assert server.infer({"inputs": [x, tensor("shape", [2], "INT64", [4, 4])]}).status == 422
        assert server.infer({"inputs": [x]}).status == 400
        sample = sampled(server)
    assert sample.requests == {"400": 1.0, "422": 3.0}
    assert sample.rejected == {FAILED_RUN: 3.0, "malformed": 1.0}
    assert sample.security == {("malformed", "refused"): 1.0}


def test_an_output_that_json_cannot_carry_is_no_failed_run() -> None:
    """Seen failing with the reason of a failed run given to it."""
    with running(models_factory.reciprocal()) as server:
        assert server.infer({"inputs": [tensor("x", [1], "FP32", [0.0])]}).status == 422
        sample = sampled(server)
    assert sample.requests == {"422": 1.0}
    assert sample.rejected == {"not_finite": 1.0}
