"""`GET /v1/models`: the models of the catalogue that the fleet can run."""

from __future__ import annotations

from typing import Any

from gangline.ir.specs.model import ModelSpec
from gangline.runtime.server.call import Call
from gangline.runtime.server.operation import Asgi
from gangline.runtime.server.reply import Reply

from .gateway import Gateway


class Models:
    """Lists and describes models."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def list(self, call: Call) -> Asgi:
        """List what there is."""
        rows = [_document(spec) for spec in self._gateway.models()]
        return Reply.json({"object": "list", "data": rows})

    async def one(self, call: Call) -> Asgi:
        """Describe one model."""
        return Reply.json(_document(self._gateway.model(call.path["id"])))


def _document(spec: ModelSpec) -> dict[str, Any]:
    return {
        "id": spec.name,
        "object": "model",
        "created": 0,
        "owned_by": "gangline",
        "max_model_len": spec.context,
    }
