"""The header of the files we write: it names the owner and carries a hash, so that a hand edit is seen.

The first line of a managed file is `<comment> Managed by shiftboss for <address>, sha256 <hash>: …`.
The hash covers everything below that line.
"""

import re

from msgspec import Struct

_HEADER = re.compile(
    r"[;#] Managed by shiftboss for (?P<address>[a-z0-9_/-]+), sha256 (?P<hash>[0-9a-f]{16})\b[^\n]*\n"
)


class Seal(Struct, frozen=True):
    """Who a managed file belongs to (project or unit address), and whether it is as we wrote it."""

    address: str
    intact: bool


def seal(body: str, address: str, *, comment: str) -> str:
    """Return `body` below a header line that starts with `comment` (`;` or `#`) and covers it by a hash."""
    advice = "change it with shiftboss, not here"
    return f"{comment} Managed by shiftboss for {address}, sha256 {_hash(body)}: {advice}\n{body}"


def read_seal(text: str) -> Seal | None:
    """Return the seal of a managed file, None for a file that is not ours."""
    found = _HEADER.match(text)
    if not found:
        return None
    return Seal(found["address"], _hash(text[found.end() :]) == found["hash"])


def belongs_to(text: str, project: str) -> bool:
    """Tell whether a file is ours and of this project or one of its units."""
    found = read_seal(text)
    return found is not None and found.address.partition("/")[0] == project


def _hash(body: str) -> str:
    import hashlib  # 1 ms, and most commands have no file of ours to check

    return hashlib.sha256(body.encode()).hexdigest()[:16]
