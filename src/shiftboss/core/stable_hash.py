"""A number that is always the same for the same text: on each server, in each process, in each version."""

# the part of hashlib that is needed: hashlib itself loads OpenSSL, 0.3 MB of the engine's memory
from _blake2 import blake2b


def stable_number(text: str, size: int) -> int:
    """Return a number of `size` bytes."""
    digest: bytes = blake2b(text.encode(), digest_size=size).digest()
    return int.from_bytes(digest, "big")
