import json

import pytest
from fake_shell import entry

from shiftboss.core.wire import codec, messages
from shiftboss.core.wire.entry import Entry, Policy
from shiftboss.core.wire.manifest import manifest_text
from shiftboss.core.wire.values import WireError
from shiftboss.engine.known_entries import KnownEntries


def offered(known: KnownEntries, serial: int, item: Entry) -> Entry:
    report = known.decode(codec.encode(messages.Offer(serial, item)))
    assert isinstance(report, messages.Offer)
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
    assert type(offered(known, 3, item).policy) is Policy


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
    for report in (messages.Gone("a/b", 1, 2), messages.Manifest(3, 0, {}), messages.Synced()):
        assert KnownEntries().decode(codec.encode(report)) == report


def test_what_has_its_default_is_not_sent_and_what_an_earlier_keeper_sends_in_full_reads_the_same() -> None:
    item = entry(policy_options={"times": {"cron": "* * * * *"}}, rlimits={"NOFILE": (10, 20)})
    raw = codec.encode(messages.Offer(1, item))
    assert b'"lang"' not in raw
    assert b'"confinement"' not in raw
    full = json.loads(raw) | {"entry": json.loads(manifest_text("shop", (item,)))["entries"][0]}
    for sent in (raw, json.dumps(full).encode()):
        assert codec.decode_report(sent) == messages.Offer(1, item)


def test_what_is_shared_between_entries_is_of_the_right_type_in_each() -> None:
    """Python takes 1, 1.0 and true for equal; a value that was read before must not let a wrong one pass."""
    rows = [json.loads(codec.encode(messages.Offer(1, entry(rlimits={"NOFILE": (1, 1)}))))]
    for wrong in ([1, True], [1.0, 1], ["1", 1], [1]):
        rows.append(json.loads(json.dumps(rows[0])))
        rows[-1]["entry"]["rlimits"] = {"NOFILE": wrong}
    codec.decode_report(json.dumps(rows[0]).encode())
    for row in rows[1:]:
        with pytest.raises(WireError, match="rlimits has the wrong"):
            codec.decode_report(json.dumps(row).encode())
