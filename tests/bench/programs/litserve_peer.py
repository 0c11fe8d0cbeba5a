"""The same model behind LitServe with its defaults: one API process, one worker process.

``python litserve_peer.py MODEL PORT`` in an environment that has these packages; nothing of this project is imported.
"""

import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime
from fastapi import Request


class Api(litserve.LitAPI):  # type: ignore[misc]  # unknown here: only in the peers' environment
    """Decode, predict, encode, as its manual shows."""

    def setup(self, device: str) -> None:
        """In the worker: one thread, as the runtime has by default."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])

    def decode_request(self, request: Request) -> Any:
        """A document to arrays."""
        return {
            each["name"]: np.array(each["data"], np.float32).reshape(each["shape"])
            for each in request["inputs"]
        }

    def predict(self, x: Any) -> Any:
        """Run."""
        return self.session.run(["y"], x)[0]

    def encode_response(self, output: Any) -> Any:
        """An array to a document."""
        y = {"name": "y", "shape": list(output.shape), "datatype": "FP32", "data": output.ravel().tolist()}
        return {"model_name": "m", "outputs": [y]}


if __name__ == "__main__":
    server = litserve.LitServer(Api(api_path="/v2/models/m/infer"), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
