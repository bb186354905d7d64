"""Messages as bytes and back: what comes in is checked here. Standard library only, no I/O."""

import json
from typing import Any

from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import MAX_PROCESSES, Policy, check_signal_name, is_address
from shiftboss.core.wire.messages import OfRun, Report, Request
from shiftboss.core.wire.values import WireError, json_object, plain, read_table

MAX_REQUEST = 2048

_REQUESTS: dict[str, type[Request]] = {
    "sync": messages.Sync,
    "spawn": messages.Spawn,
    "signal": messages.Signal,
    "stop": messages.Stop,
    "kill": messages.Kill,
    "forget": messages.Forget,
    "reload": messages.Reload,
    "shutdown": messages.Shutdown,
}
_REPORTS: dict[str, type[Report]] = {
    "hello": messages.Hello,
    "offer": messages.Offer,
    "manifest": messages.Manifest,
    "release": messages.Release,
    "spawned": messages.Spawned,
    "held": messages.Held,
    "spawn_failed": messages.SpawnFailed,
    "exited": messages.Exited,
    "gone": messages.Gone,
    "stopping": messages.Stopping,
    "refused": messages.Refused,
    "synced": messages.Synced,
}
_TYPES = {kind: name for name, kind in (*_REQUESTS.items(), *_REPORTS.items())}
_to_json = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would make an encoder each time


def encode(message: Request | Report) -> bytes:
    """Return the bytes of one message."""
    fields = plain(message) if not isinstance(message, messages.Offer) else _plain_offer(message)
    return _to_json({"type": _TYPES[type(message)], **fields}).encode()


def decode_request(raw: bytes) -> Request:
    """Read what an engine sent; raise WireError for anything that is not exactly a request."""
    if len(raw) > MAX_REQUEST:
        raise WireError("the request is too long")
    table = json_object(raw)
    kind = _REQUESTS.get(str(table.pop("type", "")))
    if kind is None:
        raise WireError("the request has no known type")
    request: Request = read_table(kind, table, strict=True)
    if isinstance(request, OfRun):
        _check_key(request)
    if isinstance(request, messages.Signal):
        check_signal_name(request.signal)
    return request


def decode_report(raw: bytes) -> Report:
    """Read what a keeper sent; raise WireError if it cannot be understood. Unknown fields are passed over."""
    table = json_object(raw)
    kind = _REPORTS.get(str(table.pop("type", "")))
    if kind is None:
        raise WireError("the report has no known type")
    return read_table(kind, table, strict=False)


def _check_key(request: OfRun) -> None:
    if not is_address(request.entry):
        raise WireError("that is not the address of an entry")
    if not (1 <= request.process <= MAX_PROCESSES and 1 <= request.run < 2**53):
        raise WireError("process or run is out of range")


def _plain_offer(offer: messages.Offer) -> dict[str, Any]:
    """Return an offer without what has its default: most of an entry has. A default that changes is a new VERSION."""
    return {"serial": offer.serial, "entry": _spare(offer.entry)}


def _spare(value: Any) -> dict[str, Any]:
    defaults = value._field_defaults
    return {
        name: _spare(item) if isinstance(item, Policy) else item if isinstance(item, dict) else plain(item)
        for name, item in zip(value._fields, value, strict=True)
        if name not in defaults or item != defaults[name]
    }
