"""The launcher reads what the manifest's writer writes, without its code, and refuses everything else in words."""

import contextlib
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftboss.backends import launch_pauses as pauses
from shiftboss.backends.paused_file import paused_text
from shiftboss.core.wire.entry import Confinement, Entry, Fallback, Policy, StopTerms
from shiftboss.core.wire.manifest import manifest_text
from shiftboss.launcher.order import Address, Order, OrderError, _parse, read_paused

words = st.text('aé€\U0001f642/="\\ \n\x1b', max_size=5)
tables = st.dictionaries(words, words, max_size=2)
numbers = st.integers(0, 2**31)
rlimits = st.dictionaries(words, st.tuples(numbers, numbers), max_size=2)
confinements = st.builds(
    Confinement,
    v2=tables,
    v1=tables,
    budget_v2=tables,
    budget_v1=tables,
    fallbacks=st.lists(st.builds(Fallback, words, rlimits, words), max_size=2).map(tuple),
    nice=st.integers(-20, 19),
    steps=st.lists(st.lists(words, min_size=1, max_size=3).map(tuple), max_size=3).map(tuple),
)
entries = st.builds(
    Entry,
    address=st.just("shop/queue"),
    argv=st.lists(words.filter(bool), min_size=1, max_size=4).map(tuple),
    user=words,
    uid=numbers,
    gid=numbers,
    home=words,
    directory=words,
    current=words,
    revision=words,
    groups=st.lists(numbers, max_size=3).map(tuple),
    shell=words,
    path=words,
    lang=words,
    environment=tables,
    env_file=words,
    umask=st.integers(0, 0o777),
    rlimits=rlimits,
    confinement=confinements,
    processes_max=st.just(1),
    stop=st.just(StopTerms()),
    policy=st.just(Policy()),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=30)
@given(entries)
def test_what_the_manifest_says_is_what_is_launched(entry: Entry) -> None:
    table = _parse(manifest_text("shop", (entry,)).encode(), "x")
    assert table == json.loads(manifest_text("shop", (entry,)))
    rows = table["entries"]
    assert isinstance(rows, list)
    order, bounds = Order(rows[0]), entry.confinement
    for name in (
        "user",
        "uid",
        "gid",
        "home",
        "directory",
        "groups",
        "shell",
        "path",
        "lang",
        "env_file",
        "umask",
    ):
        assert getattr(order, name) == getattr(entry, name)
    assert tuple(order.argv) == entry.argv
    assert (order.environment, order.rlimits) == (entry.environment, entry.rlimits)
    assert (*order.own, *order.budget) == (bounds.v2, bounds.v1, bounds.budget_v2, bounds.budget_v1)
    assert [(row.controller, row.rlimits, row.words) for row in order.fallbacks] == list(bounds.fallbacks)
    assert (order.nice, order.steps) == (bounds.nice, bounds.steps)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_other_bytes_are_refused_or_a_table(raw: bytes) -> None:
    with contextlib.suppress(OrderError):
        assert isinstance(_parse(raw, "x"), dict)


@given(st.dictionaries(st.sampled_from(Entry._fields), json_values))
def test_any_other_table_is_refused_in_words(row: dict[str, object]) -> None:
    with pytest.raises(OrderError, match=r"is missing or has the wrong type|has no command"):
        Order(row)


@given(st.text())
def test_an_address_is_of_the_known_form_or_refused(text: str) -> None:
    try:
        address = Address(text)
    except OrderError:
        return
    assert address.entry == f"{address.project}/{address.unit}"
    assert address.text in (address.entry, f"{address.entry}:{int(text.partition(':')[2] or 0)}")
    assert ".." not in text
    assert text.count("/") == 1


@given(st.integers(0, 99_998))
def test_supervisor_counts_from_zero_and_we_from_one(number: int) -> None:
    address = Address(f"shop/queue:{number:02d}", first=0)
    assert (address.process, address.text) == (number + 1, f"shop/queue:{number + 1}")


@given(st.dictionaries(words, words, max_size=3))
def test_who_paused_a_schedule_is_read_as_it_was_written(paused: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "shop.paused"
        for unit in ("backup", "sync"):
            assert read_paused(directory, Address(f"shop/{unit}")) == ""
        path.write_text(paused_text("shop", paused | {"backup": "ann"}))
        assert read_paused(directory, Address("shop/backup")) == "ann"
        assert read_paused(directory, Address("shop/sync")) == paused.get("sync", "")
        assert pauses.read_paused(path.read_text(), str(path)) == paused | {"backup": "ann"}
