"""The file that says what may run: what goes in comes out, and nothing else gets through."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.wire.entry import VERSION, Entry, Policy
from shiftboss.core.wire.manifest import manifest_text, read_manifest
from shiftboss.core.wire.values import WireError

ENTRY = Entry(
    address="shop/mail",
    argv=("php", "artisan"),
    user="shop_user",
    uid=1000,
    gid=1000,
    home="/home/shop",
    directory="/srv/shop/current",
    current="/srv/shop/current",
    revision="0123456789abcdef",
)
# names of the fields of an entry, as names of the user's own
FIELDS = st.sampled_from(Entry._fields)
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)


def file_of(*rows: object, **changes: object) -> bytes:
    """Return a manifest with these rows."""
    return json.dumps({"version": VERSION, "project": "shop", "entries": rows, **changes}).encode()


def row_of(**changes: object) -> dict[str, Any]:
    """Return the row of an entry in which some fields are others; None takes one away."""
    [row] = json.loads(manifest_text("shop", (ENTRY,)))["entries"]
    return {key: value for key, value in {**row, **changes}.items() if value is not None}


@given(
    environment=st.dictionaries(FIELDS | WORDS.filter(lambda name: name and "=" not in name), WORDS),
    options=st.dictionaries(
        WORDS, WORDS | st.integers(0, 9) | st.lists(WORDS) | st.dictionaries(WORDS, WORDS)
    ),
    names=st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True, min_size=1),
)
def test_entries_come_out_as_they_went_in(
    environment: dict[str, str], options: dict[str, Any], names: list[str]
) -> None:
    entry = ENTRY._replace(environment=environment, policy=Policy(options=options))
    entries = tuple(entry._replace(address=f"shop/{name}") for name in sorted(names))
    known: dict[int, Entry] = {}
    read = read_manifest(manifest_text("shop", entries).encode(), "shop", known)
    assert read == entries
    again = read_manifest(manifest_text("shop", entries[1:]).encode(), "shop", known)
    assert [id(entry) for entry in again] == [id(entry) for entry in read[1:]]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a":' * 100_000, "not valid JSON"),
        (b"[]", "not a JSON object"),
        (json.dumps(row_of()).encode(), "written by another shiftboss"),
        (file_of(version=VERSION + 1), "written by another shiftboss"),
        (file_of(project="blog"), "this is not the manifest of shop"),
        (file_of(entries={}), "this is not the manifest of shop"),
        (file_of(7), "an entry is not an object"),
        (file_of([row_of()]), "an entry is not an object"),
        (file_of(row_of(uid=None)), "Entry lacks a field"),
        (file_of(row_of(argv=None)), "Entry lacks a field"),
        (file_of(row_of(argv="php")), "argv has the wrong type"),
        (file_of(row_of(argv=[])), "shop/mail has no command"),
        (file_of(row_of(address="blog/mail")), "blog/mail does not belong to shop"),
        (file_of(row_of(address="shop/../x")), "an entry does not belong to shop"),
        (file_of(row_of(directory="tmp")), "shop/mail has a relative path"),
        (file_of(row_of(environment={"argv": ["x"]})), "environment has the wrong type"),
        (file_of(row_of(environment=row_of())), "environment has the wrong type"),
        (file_of(row_of(), row_of()), "two entries have one address"),
    ],
)
def test_what_is_not_as_it_must_be_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(WireError) as caught:
        read_manifest(raw, "shop")
    assert words in str(caught.value)


@given(
    raw=st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.just(row_of()),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(FIELDS | st.just("entries"), inner, max_size=4)
        ),
        max_leaves=9,
    ).map(lambda rows: file_of(rows))
)
def test_nonsense_raises_nothing_else(raw: bytes) -> None:
    try:
        entries = read_manifest(raw, "shop")
    except WireError:
        return
    assert entries in ((), (ENTRY,))
