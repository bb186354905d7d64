"""Sizes in words."""

import pytest

from shiftboss.core.sizes import rough_text, size_text


@pytest.mark.parametrize(
    ("size", "exact", "rough"),
    [
        (0, "0", "0"),
        (900, "900", "900"),
        (1536, "1536", "1.5K"),
        (64 * 1024**2, "64M", "64M"),
        (255 * 1024**2 + 4096, "261124K", "255M"),
        (3 * 1024**3 // 2, "1536M", "1.5G"),
    ],
)
def test_exactly_as_in_a_file_and_roughly_as_in_a_sentence(size: int, exact: str, rough: str) -> None:
    assert (size_text(size), rough_text(size)) == (exact, rough)
