"""A manifest arrives whole, or as what differs from an earlier one; what does not fit is asked for again."""

from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Entry
from shiftboss.engine.manifest import Offers


def entry(name: str, revision: str = "r1") -> Entry:
    return Entry(
        address=f"shop/{name}",
        argv=("/bin/true",),
        user="shop",
        uid=1000,
        gid=1000,
        home="/shop",
        directory="/shop",
        current="/shop/current",
        revision=revision,
    )


def offered(offers: Offers, serial: int, *entries: Entry) -> None:
    for each in entries:
        offers.add(messages.Offer(serial, each))


NAMES = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["r1", "r2", "r3"]))


@given(first=NAMES, later=st.lists(NAMES, max_size=5))
def test_differences_add_up_to_the_manifest(first: dict[str, str], later: list[dict[str, str]]) -> None:
    offers, before = Offers(), first
    offered(offers, 1, *(entry(name, revision) for name, revision in first.items()))
    assert offers.complete(messages.Manifest(1, len(first), {})) is not None
    for serial, now in enumerate(later, 2):
        changed = [entry(name, revision) for name, revision in now.items() if before.get(name) != revision]
        offered(offers, serial, *changed)
        removed = tuple(f"shop/{name}" for name in before if name not in now)

        found = offers.complete(messages.Manifest(serial, len(now), {}, base=serial - 1, removed=removed))

        assert found == {f"shop/{name}": entry(name, revision) for name, revision in now.items()}
        before = now


def test_a_difference_to_a_manifest_that_never_came_is_not_taken() -> None:
    offers = Offers()
    offered(offers, 1, entry("a"))
    assert offers.complete(messages.Manifest(1, 1, {}))
    offered(offers, 3, entry("b"))
    assert offers.complete(messages.Manifest(3, 2, {}, base=2)) is None
    offered(offers, 3, entry("a"), entry("b"))
    assert offers.complete(messages.Manifest(3, 2, {})) == {"shop/a": entry("a"), "shop/b": entry("b")}


def test_a_missed_offer_is_noticed() -> None:
    offers = Offers()
    offered(offers, 1, entry("a"))
    assert offers.complete(messages.Manifest(1, 2, {})) is None
