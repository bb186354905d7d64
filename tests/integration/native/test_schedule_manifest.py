"""A manifest that breaks while its schedules run: what could last be read goes on, and somebody is told."""

from engine_rig import EngineRig, engine_rig
from keeper_rig import until

from shiftboss.core.schedule_entry import Times

RIGA = Times(cron="*/1 * * * * *", timezone="Europe/Riga")
GONE = Times(cron="*/1 * * * * *", timezone="Europe/Nowhere")


def troubles(rig: EngineRig) -> str:
    with rig.client() as client:
        return "\n".join(client.status().troubles)


def ran_once_more(rig: EngineRig, target: str = "app/tick") -> None:
    """Wait until two more runs went well: the first may have been due before."""
    count = rig.outcomes(target).count("ran")
    until(lambda: rig.outcomes(target).count("ran") >= count + 2, "more runs")


def test_an_entry_that_cannot_be_read_any_more_keeps_its_last_good_times() -> None:
    """A zone that is gone from tzdata must not remove a schedule."""
    with engine_rig() as rig:
        rig.launch(
            *rig.schedule("tick", "/bin/true", times=RIGA),
            *rig.schedule("slow", "/bin/sleep", "1000", times=RIGA, overlap="queue", stop_seconds=1),
        )
        until(lambda: rig.outcomes("app/tick").count("ran"), "a run")
        with rig.client() as client:
            until(lambda: client.schedules("app/slow").schedules[0].waiting == 1, "one that waits")
            rig.write_all(
                *rig.schedule("tick", "/bin/true", times=GONE),
                *rig.schedule("slow", "/bin/sleep", "1000", times=GONE, overlap="queue", stop_seconds=1),
                *rig.schedule("new", "/bin/true", times=GONE),
            )
            client.reload()
            [slow, tick] = client.schedules().schedules
        lot = "runs at the times that it had before: app/{0}: there is no time zone Europe/Nowhere"
        for status in (slow, tick):
            name = status.address.partition("/")[2]
            assert status.error == f"{status.address} {lot.format(name)}"
            assert status.error in troubles(rig)
            assert status.when.endswith("(Europe/Riga)")
        assert "app/new never runs: app/new: there is no time zone Europe/Nowhere" in troubles(rig)
        assert (len(slow.running), slow.waiting) == (1, 1)
        ran_once_more(rig)
        assert not [row for row in rig.occurrences() if "removed" in row.reason]
        with rig.client() as client:
            rig.write_all(*rig.schedule("tick", "/bin/true", times=RIGA))
            client.reload()
        assert "time zone" not in troubles(rig)
        ran_once_more(rig)


def test_a_broken_manifest_keeps_the_last_good_one_and_says_so() -> None:
    with engine_rig() as rig:
        rig.launch(
            *rig.schedule("tick", "/bin/true"),
            *rig.schedule("slow", "/bin/sleep", "1000", overlap="skip", stop_seconds=1),
        )
        until(lambda: rig.outcomes("app/tick").count("ran"), "a run")
        until(rig.sleepers, "the run that goes on")
        [sleeper] = rig.sleepers()
        path = rig.manifest / "app.json"
        good = path.read_text()
        path.write_text(good[: len(good) // 2])
        with rig.client() as client:
            assert set(client.reload().errors) == {"app.json"}
        assert "manifest app.json: " in troubles(rig)
        ran_once_more(rig)
        assert rig.sleepers() == [sleeper]
        rig.next_engine(rig.kill_engine())
        assert "manifest app.json: " in troubles(rig), "the keeper has it, whichever engine asks"
        ran_once_more(rig)
        assert rig.sleepers() == [sleeper]
        path.write_text(good)
        with rig.client() as client:
            assert not client.reload().errors
        assert "manifest app.json: " not in troubles(rig)
        ran_once_more(rig)
        assert not [row for row in rig.occurrences() if "removed" in row.reason]
