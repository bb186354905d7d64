"""Which release a process runs."""

import pytest

from shiftboss.core.staleness import is_inside, runs_old_release

ROOT, RELEASE = "/srv/shop", "/srv/shop/releases/2"


@pytest.mark.parametrize(
    ("directory", "release", "answer"),
    [
        (RELEASE, RELEASE, False),
        (f"{RELEASE}/public", RELEASE, False),
        ("/srv/shop/releases/1", RELEASE, True),
        ("/srv/shop/releases/22", RELEASE, True),
        ("/srv/shop/releases/1 (deleted)", RELEASE, True),
        (f"{RELEASE} (deleted)", RELEASE, True),
        (ROOT, RELEASE, True),
        ("/", RELEASE, None),
        ("/srv/shopping", RELEASE, None),
        (None, RELEASE, None),
        (RELEASE, None, None),
    ],
)
def test_a_process_is_stale_in_another_directory_of_its_project(
    directory: str | None, release: str | None, answer: bool | None
) -> None:
    assert runs_old_release(directory, ROOT, release) is answer


def test_inside_goes_by_whole_names() -> None:
    assert is_inside("/a/b", "/a")
    assert is_inside("/a", "/a")
    assert is_inside("/a", "/")
    assert not is_inside("/ab", "/a")
    assert not is_inside("/", "/a")
