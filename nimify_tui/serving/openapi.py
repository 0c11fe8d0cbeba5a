"""GET /v2/openapi.json: this server as it is now, in OpenAPI 3.1, with the real inputs and outputs of each model."""

from __future__ import annotations

import math
from typing import Any

from nimify_tui import __version__
from nimify_tui.base.errors import Category
from nimify_tui.serving.datatypes import INTEGERS, Slot
from nimify_tui.serving.entries import Entry
from nimify_tui.serving.model import Model
from nimify_tui.serving.options import NAME
from nimify_tui.serving.shelf import Shelf

_JSON = "application/json"
#: A larger example explains nothing.
_MAX_EXAMPLE = 1024
_ERRORS = {
    "400": "The request is not understood; the words say what is wrong with it.",
    "403": "Not allowed on this listener.",
    "404": "There is no such model, version or path.",
    "405": "Another method is meant; Allow names it.",
    "408": "The header or the body did not come in time.",
    "411": "The request has no body.",
    "413": "The body is larger than is taken.",
    "415": "Compressed or of another type than JSON and binary tensors.",
    "422": "The model failed on these inputs, could not be loaded, or answered what JSON cannot carry.",
    "429": "Too many requests from this client; Retry-After says when to come back.",
    "431": "The header is too large.",
    "500": "An error of this server; the log names it under the request id.",
    "503": "Overloaded, loading, unavailable or going away; Retry-After says when to come back.",
    "504": "The model did not answer in time.",
}
_ALWAYS = ("400", "404", "405", "408", "413", "431", "500", "503")


def document(shelf: Shelf) -> dict[str, Any]:
    """The whole document."""
    schemas: dict[str, Any] = {"Error": _error_schema()}
    paths: dict[str, Any] = {
        "/v2": _get("server", "Name, version and extensions of the server."),
        "/v2/health/live": _get("live", "Whether the process answers."),
        "/v2/health/ready": _get(
            "ready", "Whether all wanted models can be asked; 503 with the reason if not."
        ),
        "/v2/openapi.json": _get("openapi", "This document."),
        "/metrics": _get("metrics", "Prometheus metrics. On the admin listener.", "text/plain"),
        "/health": _get("health", "The diagnostic page. On the admin listener."),
        "/v2/repository/index": _control(
            "repositoryIndex", "All models and versions with their states.", {"ready": {"type": "boolean"}}
        ),
        "/v2/repository/models/{name}/load": _control(
            "load", "Load a model as it lies there now.", {"parameters": {"type": "object", "maxProperties": 0}},
            named=True,
        ),
        "/v2/repository/models/{name}/unload": _control(
            "unload", "Take a model away once it has answered.", {"parameters": {"type": "object"}}, named=True
        ),
    }
    for name, entries in shelf.by_name().items():
        for entry in entries:
            ready = _model_schemas(entry, schemas)
            base = f"/v2/models/{name}"
            if entry.version:
                _add(paths, f"{base}/versions/{entry.version}", entry, ready)
            _add(paths, base, entry, ready)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nimify-tui serve", "version": __version__,
            "description": "The Open Inference Protocol v2, with the binary tensor and the model repository extension.",
        },
        "paths": paths, "components": {"schemas": schemas},
    }  # fmt: skip


def _error_schema() -> dict[str, Any]:
    return {
        "type": "object", "required": ["error", "category"],
        "properties": {
            "error": {"type": "string"},
            "category": {"type": "string", "enum": [category.value for category in Category]},
        },
    }  # fmt: skip


def _refusals(*more: str) -> dict[str, Any]:
    schema = {"schema": {"$ref": "#/components/schemas/Error"}}
    codes = sorted({*_ALWAYS, *more})
    return {code: {"description": _ERRORS[code], "content": {_JSON: schema}} for code in codes}


def _get(name: str, text: str, kind: str = _JSON) -> dict[str, Any]:
    schema = {"type": "string"} if kind != _JSON else {"type": "object"}
    answers = {"200": {"description": text, "content": {kind: {"schema": schema}}}, **_refusals()}
    return {"get": {"operationId": name, "summary": text, "responses": answers}}


def _control(
    name: str, text: str, properties: dict[str, Any], *, named: bool = False
) -> dict[str, Any]:
    schema = {"type": "object"} if named else {"type": "array", "items": {"type": "object"}}
    made: dict[str, Any] = {
        "operationId": name, "summary": text,
        "description": "On the admin listener; on the main one only with --model-control explicit.",
        "requestBody": {
            "required": False, "content": {_JSON: {"schema": {"type": "object", "properties": properties}}},
        },
        "responses": {"200": {"description": text, "content": {_JSON: {"schema": schema}}}, **_refusals("403", "422")},
    }  # fmt: skip
    if named:
        pattern = "^" + NAME.pattern.replace("\\Z", "$")
        schema = {"type": "string", "pattern": pattern}
        made["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": schema}]
    return {"post": made}


def _add(paths: dict[str, Any], base: str, entry: Entry, ready: str) -> None:
    what = f"{entry.name} version {entry.version or '1'}"
    made = base.strip("/").replace("/", "_")
    paths[base] = _get(f"metadata_{made}", f"Inputs and outputs of {what}.")
    paths[f"{base}/ready"] = _get(f"ready_{made}", f"Whether {what} can be asked.")
    request = {"$ref": f"#/components/schemas/{ready}.request"} if ready else {"type": "object"}
    answer = {"$ref": f"#/components/schemas/{ready}.response"} if ready else {"type": "object"}
    binary = {"schema": {"type": "string", "format": "binary"}}
    example = _example(entry.served.inference.model) if entry.served is not None else {}
    paths[f"{base}/infer"] = {"post": {
        "operationId": f"infer_{made}", "summary": f"Ask {what}.",
        "parameters": [{
            "name": "Inference-Header-Content-Length", "in": "header", "required": False,
            "description": "Bytes of the JSON part when binary tensors follow it.",
            "schema": {"type": "integer", "minimum": 1},
        }],
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": request, **example}, "application/octet-stream": binary},
        },
        "responses": {
            "200": {"description": "The outputs.",
                    "content": {_JSON: {"schema": answer}, "application/octet-stream": binary}},
            **_refusals("411", "415", "422", "429", "504"),
        },
    }}  # fmt: skip


def _model_schemas(entry: Entry, schemas: dict[str, Any]) -> str:
    """Put a model's schemas in; their common name, "" while it is not loaded."""
    if entry.served is None:
        return ""
    model, name = entry.served.inference.model, f"{entry.name}.{entry.version}"
    schemas[f"{name}.request"] = {
        "type": "object", "required": ["inputs"],
        "properties": {
            "id": {"type": "string"}, "parameters": {"type": "object"},
            "inputs": _tensors(model.inputs, all_of_them=True),
            "outputs": {"type": "array", "items": {
                "type": "object", "required": ["name"],
                "properties": {
                    "name": {"enum": [slot.name for slot in model.outputs]}, "parameters": {"type": "object"},
                },
            }},
        },
    }  # fmt: skip
    schemas[f"{name}.response"] = {
        "type": "object", "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"const": entry.name}, "model_version": {"const": entry.version}, "id": {"type": "string"},
            "outputs": _tensors(model.outputs, all_of_them=False),
        },
    }  # fmt: skip
    return name


def _example(model: Model) -> dict[str, Any]:
    """A request that the model answers; nothing where none is known, or it would be long."""
    inputs = []
    for slot in model.inputs:
        shape = [model.warm_size if size < 0 else size for size in slot.shape]
        zero = {"BOOL": False, "BYTES": ""}.get(slot.datatype, 0)
        if not model.warmed or slot.datatype == "BF16" or math.prod(shape) > _MAX_EXAMPLE:
            return {}
        tensor = {"name": slot.name, "datatype": slot.datatype, "shape": shape, "data": [zero] * math.prod(shape)}
        inputs.append(tensor)
    return {"example": {"inputs": inputs}}


def _tensors(slots: tuple[Slot, ...], *, all_of_them: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "array",
        "maxItems": len(slots),
        "items": {"oneOf": [_tensor(each, asked=all_of_them) for each in slots]},
    }
    if all_of_them:
        made["minItems"] = len(slots)
    if all_of_them and len(slots) > 1:
        made["allOf"] = [{"contains": {"properties": {"name": {"const": each.name}}}} for each in slots]
    return made


def _tensor(slot: Slot, *, asked: bool) -> dict[str, Any]:
    sizes = [{"type": "integer", "minimum": 0} if size < 0 else {"const": size} for size in slot.shape]
    shape: dict[str, Any] = {"type": "array", "minItems": len(sizes), "maxItems": len(sizes)}
    if sizes:
        shape["prefixItems"] = sizes
    kind = (
        "integer"
        if slot.datatype in INTEGERS
        else {"BOOL": "boolean", "BYTES": "string"}.get(slot.datatype, "number")
    )
    return {
        "type": "object", "required": ["name", "datatype", "shape", *(["data"] if asked else [])],
        "properties": {
            "name": {"const": slot.name}, "datatype": {"const": slot.datatype}, "shape": shape,
            "parameters": {"type": "object"},
            # Flat or nested, as the protocol allows.
            "data": {"type": "array", "items": {"type": [kind, "array"]}},
        },
    }  # fmt: skip
