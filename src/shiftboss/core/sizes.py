"""Sizes in bytes as people write them."""

_UNITS = (("G", 1024**3), ("M", 1024**2), ("K", 1024))


def size_text(size: int) -> str:
    """Return a size exactly: 256M, 1536K, 1000000."""
    for unit, factor in _UNITS:
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def rough_text(size: int) -> str:
    """Return a size to three digits at least: 255M, 1.5G, 900."""
    for unit, factor in _UNITS:
        if size >= factor:
            number = size / factor
            return f"{number:.0f}{unit}" if number >= 100 or number == int(number) else f"{number:.1f}{unit}"
    return str(size)
