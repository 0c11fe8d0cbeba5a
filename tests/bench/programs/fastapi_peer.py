"""The usual way to serve a model by hand: FastAPI, pydantic in and out, onnxruntime in the handler.

``python fastapi_peer.py MODEL PORT`` in an environment that has these packages; nothing of this project is imported.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Tensor(BaseModel):  # type: ignore[misc]  # unknown here: only in the peers' environment
    """One tensor of the Open Inference Protocol."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(BaseModel):  # type: ignore[misc]  # unknown here: only in the peers' environment
    """What comes in."""

    inputs: list[Tensor]


class Response(BaseModel):  # type: ignore[misc]  # unknown here: only in the peers' environment
    """What goes out."""

    model_name: str
    outputs: list[Tensor]


def application(path: str) -> FastAPI:
    """One route; one thread, as the runtime has by default."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    app = FastAPI()

    async def infer(request: Request) -> Response:
        feed = {each.name: np.array(each.data, np.float32).reshape(each.shape) for each in request.inputs}
        (y,) = session.run(["y"], feed)
        return Response(
            model_name="m",
            outputs=[Tensor(name="y", shape=list(y.shape), datatype="FP32", data=y.ravel().tolist())],
        )

    infer.__annotations__ = {"request": Request, "return": Response}
    app.post("/v2/models/m/infer", response_model=Response)(infer)
    return app


if __name__ == "__main__":
    uvicorn.run(
        application(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), loop="uvloop", http="httptools",
        access_log=False, log_level="warning",
    )  # fmt: skip
