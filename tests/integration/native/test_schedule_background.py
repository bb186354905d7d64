"""What a run leaves in the background on purpose: its end does not touch it, a stop and a timeout end it."""

import pytest
from engine_rig import EngineRig, engine_rig, eventually
from keeper_rig import until

from shiftboss.core.schedule_entry import Times

DAILY = Times(cron="0 4 * * *", timezone="Europe/Riga")
# as Laravel leaves them: a shell that waits for the command and then tells its end
BACKGROUND = "(sleep 1000; echo finished) > /dev/null 2>&1 & exit 0"
DEAF = "(trap '' TERM; sleep 1000; sleep 1000) > /dev/null 2>&1 & exit 0"
WITH_AND_WITHOUT_CGROUPS = pytest.mark.parametrize("cgroups", ["auto", "none"])


def left_behind(rig: EngineRig, script: str, **policy: int) -> list[int]:
    """Run a schedule whose run ends well and leaves a process behind; return its pid."""
    rig.launch(
        *rig.schedule("artisan", "/bin/sh", "-c", script, times=DAILY, leaves_background=True, **policy)
    )
    with rig.client() as client:
        ran = client.run("app/artisan", wait_seconds=20)
        assert ran.outcome == "ran"
        [status] = client.schedules().schedules
        assert (status.running, status.background) == ((), (ran.run,))
    found = until(rig.sleepers, "what it left")
    assert len(found) == 1
    return found


def check_all_is_over(rig: EngineRig) -> None:
    """Assert that nothing is left of it, the outcome is what it was, and the schedule can run again."""
    eventually(lambda: not rig.sleepers(), "its end")
    with rig.client() as client:
        eventually(lambda: not client.schedules().schedules[0].background, "its end to be told")
        assert client.run("app/artisan", wait_seconds=20).outcome == "ran"
    assert rig.outcomes() == ["ran", "ran"]


@WITH_AND_WITHOUT_CGROUPS
@pytest.mark.parametrize("script", [BACKGROUND, DEAF])
def test_a_stop_of_the_runs_ends_it(cgroups: str, script: str) -> None:
    with engine_rig(cgroups) as rig:
        left_behind(rig, script, stop_seconds=1)
        with rig.client() as client:
            client.stop_runs("app/artisan")
        check_all_is_over(rig)
        assert not rig.history("alert")


@WITH_AND_WITHOUT_CGROUPS
def test_a_timeout_ends_it_also_under_the_next_engine(cgroups: str) -> None:
    with engine_rig(cgroups) as rig:
        before = left_behind(rig, BACKGROUND, stop_seconds=1, timeout_seconds=6)
        rig.next_engine(rig.kill_engine())
        assert rig.sleepers() == before
        eventually(lambda: not rig.sleepers(), "the timeout")
        [alert] = rig.history("alert")
        assert alert.state == "failed"
        assert alert.reason == "what run 2 left in the background lived longer than 6 s and is ended"
        check_all_is_over(rig)


def test_without_either_it_lives_on() -> None:
    with engine_rig() as rig:
        rig.launch(
            *rig.schedule("artisan", "/bin/sh", "-c", BACKGROUND, leaves_background=True, timeout_seconds=600)
        )
        until(lambda: rig.outcomes().count("ran") >= 40, "more runs than may go on at once", 90)
        assert set(rig.outcomes()) == {"ran"}
        assert len(rig.sleepers()) >= 40
        with rig.client() as client:
            client.pause("app/artisan")
            client.stop_runs("app")
            eventually(lambda: not client.schedules().schedules[0].background, "the end of all")
        assert not rig.sleepers()
