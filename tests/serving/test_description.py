"""What a runtime says of itself: OpenAPI, error categories, last errors, trace context."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.base.errors import Category
from nimify_tui.serving.health import KEPT, ErrorBook
from nimify_tui.serving.replies import category_of
from tests import models_factory
from tests.serving.servers import Server, running, tensor, until

ROW = {"inputs": [tensor("x", [1, 8], "FP32", [0.5] * 8)]}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model in two versions, and one of every type."""
    root = tmp_path_factory.mktemp("two") / "models"
    for path, data in (
        ("a/1", models_factory.mlp((8, 16, 4))), ("a/2", models_factory.mlp((8, 16, 4), batch=2)),
        ("t/1", models_factory.every_type()),
    ):  # fmt: skip
        (root / path).mkdir(parents=True)
        (root / path / "model.onnx").write_bytes(data)
    with running(root) as server:
        yield server


def test_every_route_is_in_the_document_and_answers(two: Server) -> None:
    answer = two.ask("GET", "/v2/openapi.json")
    assert answer.json == two.ask("GET", "/v2/openapi.json", admin=True).json
    assert answer.json["openapi"] == "3.1.0"
    for path, methods in answer.json["paths"].items():
        admin = path in ("/metrics", "/health") or path.startswith("/v2/repository")
        # Unloading would take away what the next lines ask for.
        where = path.replace("{name}", "none" if path.endswith("unload") else "a")
        for method in methods:
            status = two.ask(method.upper(), where, b"" if method == "post" else None, admin=admin).status
            assert str(status) in methods[method]["responses"], (path, status)
            assert status not in (404, 405) or "none" in where, path


def test_the_operations_have_names_of_their_own_and_references_lead_somewhere(two: Server) -> None:
    page = two.ask("GET", "/v2/openapi.json").json
    names = [method["operationId"] for path in page["paths"].values() for method in path.values()]
    assert len(names) == len(set(names))
    text = json.dumps(page)
    for piece in text.split('"$ref": "')[1:]:
        assert piece.split('"')[0].rpartition("/")[2] in page["components"]["schemas"]


def test_schemas_are_those_of_the_models(two: Server) -> None:
    page = two.ask("GET", "/v2/openapi.json").json
    schemas = page["components"]["schemas"]
    first = schemas["a.1.request"]["properties"]["inputs"]["items"]["oneOf"][0]["properties"]
    assert (first["name"], first["datatype"]) == ({"const": "x"}, {"const": "FP32"})
    assert first["shape"]["prefixItems"] == [{"type": "integer", "minimum": 0}, {"const": 8}]
    second = schemas["a.2.request"]["properties"]["inputs"]["items"]["oneOf"][0]["properties"]
    assert second["shape"]["prefixItems"] == [{"const": 2}, {"const": 8}]
    output = schemas["a.1.response"]["properties"]["outputs"]["items"]["oneOf"][0]["properties"]
    assert (output["name"], output["shape"]["prefixItems"][1]) == ({"const": "y"}, {"const": 4})
    items = schemas["t.1.request"]["properties"]["inputs"]["items"]["oneOf"]
    kinds = {each["properties"]["datatype"]["const"] for each in items}
    metadata = two.ask("GET", "/v2/models/t").json
    assert kinds == {each["datatype"] for each in metadata["inputs"]}
    infer = page["paths"]["/v2/models/a/infer"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert infer == {"$ref": "#/components/schemas/a.2.request"}


def test_answers_and_refusals_fit_their_schemas(two: Server) -> None:
    page = two.ask("GET", "/v2/openapi.json").json
    request = {"inputs": ROW["inputs"], "id": "7"}
    answer = two.ask("POST", "/v2/models/a/versions/1/infer", json.dumps(request).encode())
    assert fits(request, page["components"]["schemas"]["a.1.request"])
    assert fits(answer.json, page["components"]["schemas"]["a.1.response"])
    assert not fits({"inputs": []}, page["components"]["schemas"]["a.1.request"])
    assert not fits(
        {"inputs": [tensor("z", [1, 8], "FP32", [])]}, page["components"]["schemas"]["a.1.request"]
    )
    refused = two.ask("POST", "/v2/models/a/infer", b"{")
    assert fits(refused.json, page["components"]["schemas"]["Error"])


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """The part of JSON Schema that the document uses."""
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
    }
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "oneOf" in schema and sum(fits(value, each) for each in schema["oneOf"]) != 1:
        return False
    named = schema.get("type", [])
    wanted = [named] if isinstance(named, str) else named
    if wanted and not any(isinstance(value, kinds[each]) for each in wanted):  # type: ignore[arg-type]  # of types
        return False
    if isinstance(value, dict):
        inner = schema.get("properties", {})
        return set(schema.get("required", [])) <= set(value) and all(
            fits(item, inner[key]) for key, item in value.items() if key in inner
        )
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return False
        first = schema.get("prefixItems", [])
        return all(map(fits, value, first)) and all(fits(each, schema.get("items", {})) for each in value)
    return True


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "category"),
    [
        ("POST", "/v2/models/a/infer", b"{", 400, "validation"),
        ("GET", "/v2/none", None, 404, "validation"),
        ("GET", "/v2/models/a/infer", None, 405, "validation"),
        ("GET", "/v2/models/a/../x", None, 400, "security"),
        ("POST", "/v2/repository/models/a/load", b"", 403, "security"),
    ],
)
def test_a_refusal_names_its_category(
    two: Server, method: str, path: str, body: bytes | None, status: int, category: str
) -> None:
    answer = two.ask(method, path, body)
    assert (answer.status, answer.json["category"]) == (status, category)
    assert answer.error
    last = two.ask("GET", "/health", admin=True).json["last_errors"][-1]
    assert (last["category"], last["status"], last["error"]) == (category, status, answer.error)
    assert last["at"].endswith("Z")


def test_a_limit_and_a_failing_model_have_categories_of_their_own() -> None:
    with running(models_factory.reciprocal(), "--rate-limit-rps", "1") as server:
        name = server.ask("GET", "/v2/models/m").json["inputs"][0]["name"]
        body = {"inputs": [tensor(name, [1], "FP32", [0.0])]}
        answers = [server.infer(body) for _ in range(4)]
        assert answers[0].json["category"] == "inference"
        assert answers[-1].json["category"] == "rate_limit"
        page = server.ask("GET", "/health", admin=True).json
        assert page["errors"]["inference"] >= 1
        assert page["errors"]["rate_limit"] >= 1


def test_every_status_has_a_category() -> None:
    assert category_of(500, "") is Category.INTERNAL
    assert category_of(404, "") is Category.VALIDATION
    assert category_of(504, "deadline") is Category.TIMEOUT
    assert category_of(503, "draining") is Category.CLUSTER
    assert category_of(503, "loading") is Category.MODEL


def test_a_flood_of_one_kind_of_error_does_not_push_out_another() -> None:
    book = ErrorBook()
    book.note(Category.MODEL, 0, "it broke\x1b[31m", "a")
    for number in range(1000):
        book.note(Category.VALIDATION, 400, f"wrong {number}")
    rows = book.last()
    assert len(rows) == KEPT + 1
    assert rows[0]["category"] == "model"
    assert rows[0]["error"].isprintable()
    assert rows[-1]["error"] == "wrong 999"
    assert book.counts[Category.VALIDATION] == 1000


def test_the_health_page_tells_of_each_model(two: Server) -> None:
    two.ask("POST", "/v2/models/a/versions/1/infer", json.dumps(ROW).encode())
    page = two.ask("GET", "/health", admin=True).json
    rows = {f"{row['name']}/{row['version']}": row for row in page["models"]}
    assert list(rows) == ["a/2", "a/1", "t/1"]
    row = rows["a/1"]
    assert (row["state"], row["requests"]["200"] >= 1, row["in_flight"]) == ("READY", True, 0)
    assert row["batch"]["words"]
    assert row["batch"]["workers"]
    assert row["provider"]["chosen"] == "CPUExecutionProvider"
    assert page["uptime_s"] >= 0
    assert page["limits"]["model_control"] == "admin"


def test_trace_context_is_passed_on_in_answers_and_log(tmp_path: Path) -> None:
    state = "vendor=t61rcWkgMzE,other=00f067aa0ba902b7"
    with running(models_factory.mlp((8, 16, 4))) as server:
        answer = server.infer(ROW, {"traceparent": TRACE, "tracestate": state})
        assert (answer.headers["traceparent"], answer.headers["tracestate"]) == (TRACE, state)
        line = until(lambda: server.events("request"), why="the first request is the sample")[0]
        assert line["trace_id"] == TRACE.split("-")[1]
        assert line["parent_id"] == TRACE.split("-")[2]
        assert line["tracestate"] == state
        refused = server.infer(b"{", {"traceparent": TRACE})
        assert refused.headers["traceparent"] == TRACE
        assert "tracestate" not in refused.headers


@pytest.mark.parametrize(
    "parent", ["x", TRACE.upper(), f"ff{TRACE[2:]}", f"00-{'0' * 32}-b7ad6b7169203331-01", TRACE + "x", ""]
)
def test_trace_context_that_is_not_valid_is_not_repeated(small: Server, parent: str) -> None:
    answer = small.infer(ROW, {"traceparent": parent, "tracestate": "a=1"})
    assert answer.status == 200
    assert not {"traceparent", "tracestate"} & set(answer.headers)


def test_a_trace_state_that_is_not_valid_is_left_out(small: Server) -> None:
    answer = small.infer(ROW, {"traceparent": TRACE, "tracestate": "a=" + "1" * 600})
    assert answer.headers["traceparent"] == TRACE
    assert "tracestate" not in answer.headers
