from fake_shell import entry

from shiftboss.core import wire
from shiftboss.engine.known_entries import KnownEntries


def offered(known: KnownEntries, serial: int, item: wire.Entry) -> wire.Entry:
    report = known.decode(wire.encode(wire.Offer(serial, item)))
    assert isinstance(report, wire.Offer)
    assert report.serial == serial
    return report.entry


def test_an_entry_comes_out_as_it_went_in() -> None:
    item = entry(
        processes=3,
        groups=(4, 5),
        rlimits={"NOFILE": (10, 20)},
        policy_exit_meanings={"12": "memory"},
        policy_options={"deep": {"list": [1, {"x": None}]}},
        stop_wait_seconds=9.5,
    )
    known = KnownEntries()
    assert offered(known, 1, item) == item
    assert offered(known, 2, item) == item
    assert type(offered(known, 3, item).policy) is wire.Policy


def test_what_is_as_before_is_the_same_object() -> None:
    known = KnownEntries()
    first = offered(known, 1, entry())
    other = offered(known, 1, entry("shop/mail"))
    assert offered(known, 2, entry()) is first
    assert offered(known, 2, entry(revision="r2")) is not first
    assert other.directory is first.directory
    assert other.stop is first.stop


def test_what_is_offered_no_more_is_forgotten() -> None:
    known = KnownEntries()
    first = offered(known, 1, entry())
    offered(known, 2, entry("shop/mail"))
    offered(known, 3, entry("shop/mail"))
    assert offered(known, 4, entry()) is not first


def test_other_reports_pass() -> None:
    for report in (wire.Gone("a/b", 1, 2), wire.Manifest(3, 0, {}), wire.Synced()):
        assert KnownEntries().decode(wire.encode(report)) == report
