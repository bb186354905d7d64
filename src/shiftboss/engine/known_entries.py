"""Entries as the keeper offers them, each decoded once: a manifest of a thousand units is mostly as it was before.

What entries have in common (paths, users, terms) is kept once, which saves more than a kilobyte for each.
"""

from typing import Any

from shiftboss.core import wire

_START = b'{"type":"offer","serial":'
_MIDDLE = b',"entry":'


class KnownEntries:
    """Remembers entries by what they looked like on the wire."""

    def __init__(self) -> None:
        # by hash, not by content, which would be as large as the entries: siphash, 64 bits, keyed for each process
        self._before: dict[int, wire.Entry] = {}
        self._now: dict[int, wire.Entry] = {}
        self._serial = b""
        self._shared: dict[Any, Any] = {}

    def decode(self, raw: bytes) -> wire.Report:
        """Return the report in `raw`; raises WireError as `wire.decode_report` does."""
        middle = raw.find(_MIDDLE, len(_START), len(_START) + 32) if raw.startswith(_START) else -1
        if middle < 0:
            return wire.decode_report(raw)
        self._begin(raw[len(_START) : middle])
        key = hash(raw[middle:])
        known = self._now.get(key) or self._before.get(key)
        if known is None:
            offer = wire.decode_report(raw)
            assert isinstance(offer, wire.Offer)
            known = self._share_entry(offer.entry)
        self._now[key] = known
        return wire.Offer(int(self._serial), known)

    def _begin(self, serial: bytes) -> None:
        if serial != self._serial:
            self._serial, self._before, self._now = serial, self._now, {}

    def _share_entry(self, entry: wire.Entry) -> wire.Entry:
        policy = wire.Policy(*map(self._share, entry.policy))
        stop = self._share(wire.StopTerms(*map(self._share, entry.stop)))
        confinement = wire.Confinement(*map(self._share, entry.confinement))
        shared = wire.Entry(*map(self._share, entry))
        return shared._replace(policy=policy, stop=stop, confinement=confinement)

    def _share(self, value: Any) -> Any:
        """Return the first value that was equal to this one."""
        if isinstance(value, dict):
            return self._first(("dict", *value.items()), value)
        if isinstance(value, tuple) and type(value) is tuple:
            value = tuple(map(self._share, value))
        return self._first(value, value) if isinstance(value, str | tuple) else value

    def _first(self, key: Any, value: Any) -> Any:
        try:
            return self._shared.setdefault(key, value)
        except TypeError:  # it holds what cannot be a key
            return value
