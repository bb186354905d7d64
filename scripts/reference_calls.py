"""The reference page of what can be asked of the engine, from the one table of calls."""

import inspect
from collections.abc import Iterator

import msgspec

GENERATED = "<!-- Made by `make docs` from the code. Change the code, not this page. -->\n"
NEEDS = {
    "anyone": "a right on any project",
    "read": "to look at each project that it is about",
    "operate": "to control each project that it is about",
    "admin": "root, or the group `shiftboss`",
}
WHO = """| who | may |
| --- | --- |
| root, members of the group `shiftboss`, the owner of an engine without root | everything |
| the project's own user, its `operators` | look at and control this project |
| its `viewers` | look at this project |
| everybody else | nothing; the connection is closed with `denied` |"""
INTRODUCTION = """The engine answers at `/run/shiftboss/api.sock`, a unix socket: one JSON object a line, at most 64 KiB.

```text
{"id": 1, "call": "status", "args": {"targets": ["shop"]}}
{"id": 1, "reply": {…}}
{"id": 2, "error": {"kind": "denied", "message": "…", "hint": "…"}}
{"id": 3, "item": {…}}
```

Requests are answered in any order; `id` tells which. A call that streams answers first, then sends items until one side
hangs up. `kind` of an error is `user` (the request is wrong), `host` (the machine refused), `denied` or `bug`."""
LIMITS = """Who asks is known from the kernel (`SO_PEERCRED`, `SO_PEERGROUPS`): user and groups at the moment of the connection.
Rights are looked up at each request and each item: what root takes away is gone at once. `targets` that are left out
mean everything that the caller may; a project that the caller may not look at is answered like one that does not exist.

A user who is not an administrator has at most 16 connections, 30 changes at once and one more each second, and 100 logs
that are followed."""


def page() -> str:
    """Return the whole page."""
    from shiftboss.api.calls import CALLS

    rows = [
        f"| `{name}` | {_fields(call.args)} | {_answer(call.reply, call.item)} | {NEEDS[call.access]} |"
        for name, call in CALLS.items()
    ]
    kinds = dict.fromkeys(
        kind for call in CALLS.values() for kind in (call.args, call.reply, call.item) if kind is not None
    )
    parts = [
        f"{GENERATED}\n# Calls of the engine",
        INTRODUCTION,
        "## Calls",
        "What ends in `?` may be left out.",
        "\n".join(["| call | arguments | answer | needs |", "| --- | --- | --- | --- |", *rows]),
        "## Who may",
        WHO,
        LIMITS,
        "## Arguments and answers",
        *_described(kinds),
    ]
    return "\n\n".join(parts) + "\n"


def _fields(kind: type[msgspec.Struct]) -> str:
    fields = msgspec.structs.fields(kind)
    return ", ".join(f"`{field.name}{'' if field.required else '?'}`" for field in fields) or "-"


def _answer(reply: type[msgspec.Struct], item: type[msgspec.Struct] | None) -> str:
    return reply.__name__ + (f", then {item.__name__}" if item else "")


def _described(kinds: dict[type[msgspec.Struct], None]) -> Iterator[str]:
    for kind in kinds:
        if msgspec.structs.fields(kind):
            yield f"### {kind.__name__}\n\n{_fields(kind)}\n\n{inspect.cleandoc(kind.__doc__ or '')}"
