"""Entries as the keeper offers them, each decoded once: a manifest of a thousand units is mostly as it was before."""

from shiftboss.core.wire import codec, messages
from shiftboss.core.wire.entry import Entry

_START = b'{"type":"offer","serial":'
_MIDDLE = b',"entry":'


class KnownEntries:
    """Remembers entries by what they looked like on the wire."""

    def __init__(self) -> None:
        # by hash, not by content, which would be as large as the entries: siphash, 64 bits, keyed for each process
        self._before: dict[int, Entry] = {}
        self._now: dict[int, Entry] = {}
        self._serial = b""

    def decode(self, raw: bytes) -> messages.Report:
        """Return the report in `raw`; raises WireError as `codec.decode_report` does."""
        middle = raw.find(_MIDDLE, len(_START), len(_START) + 32) if raw.startswith(_START) else -1
        if middle < 0:
            return codec.decode_report(raw)
        self._begin(raw[len(_START) : middle])
        key = hash(raw[middle:])
        known = self._now.get(key) or self._before.get(key)
        if known is None:
            offer = codec.decode_report(raw)
            assert isinstance(offer, messages.Offer)
            known = offer.entry
        self._now[key] = known
        return messages.Offer(int(self._serial), known)

    def _begin(self, serial: bytes) -> None:
        if serial != self._serial:
            self._serial, self._before, self._now = serial, self._now, {}
