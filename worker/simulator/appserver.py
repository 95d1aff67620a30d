"""Write the API's JSON again as AppServer does (contract 2.9). Values in, values out; XML is left alone."""

import json
from dataclasses import replace
from typing import Any

from worker.simulator.replies import JSON, Reply

_TEXTS = {400: "Invalid arguments", 403: "Access denied", 404: "The record could not be found"}
_LEFT_OUT = {"createBy", "created", "about", "industry"}
"""Members that the answer to a link or its removal lacks there."""


def reshaped(reply: Reply, kind: str) -> Reply:
    """The same answer of AppServer; ``kind`` is that of its route."""
    if reply.content_type != JSON:
        return reply
    said = json.loads(reply.body)
    envelope: dict[str, Any] = {"status": said["status"], "statusCode": said["statusCode"]}
    if "error" in said:
        envelope["error"] = _error(reply.status, said["error"])
    else:
        response = _without_nulls(said["response"])
        if kind == "link":
            response = {name: value for name, value in response.items() if name not in _LEFT_OUT}
        total = {"total": said["total"]} if "total" in said else {}
        envelope = {"count": said.get("count", 0), **total, "response": response, **envelope}
    return replace(reply, body=json.dumps(envelope, separators=(",", ":")).encode())


def _error(status: int, said: dict[str, Any]) -> dict[str, Any]:
    return {
        "message": _TEXTS.get(status, said["message"]),
        "type": "System.Exception",
        "stack": "   at ASC.CRM.Api",
        "hresult": said["hresult"],
    }


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
