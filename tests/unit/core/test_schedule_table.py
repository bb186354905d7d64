"""The keys of a schedule's table: what they become, and what is refused with their path."""

from typing import Any

import pytest
from test_expand import schedule

from shiftboss.core.config import project_file
from shiftboss.core.errors import UserError
from shiftboss.core.run_policy import Policy

PLAIN: dict[str, Any] = {"command": "php artisan x"}


def test_the_defaults() -> None:
    unit = schedule({**PLAIN, "cron": "0 2 * * *"})
    assert unit.policy == Policy()
    assert (unit.every, unit.after, unit.dst, unit.only_if, unit.asked) == (0, "", "debian", (), ())


def test_every_key() -> None:
    unit = schedule(
        {
            **PLAIN,
            **{
                "every": "10m",
                "overlap": "queue",
                "timeout": "1h",
                "stop_wait": 5,
                "retries": 3,
                "retry_delay": 30,
            },
            **{
                "catch_up": "once",
                "starting_deadline": 120,
                "jitter": "20s",
                "spread": True,
                "expect_within": "5m",
            },
            "only_if": ["/usr/bin/test", "-e", "ready"],
        }
    )
    policy = unit.policy
    assert (unit.cron, unit.every, unit.times) == ("", 600, "every 10 minutes")
    assert (policy.overlap, policy.timeout_seconds, policy.stop_seconds) == ("queue", 3600, 5)
    assert (policy.retries, policy.backoff.first_seconds, policy.catch_up) == (3, 30.0, "once")
    assert (policy.deadline_seconds, policy.jitter_seconds, policy.spread) == (120, 20, True)
    assert (policy.only_if, policy.expect_within) == (True, 300)
    assert unit.only_if == ("/usr/bin/test", "-e", "ready")
    assert "overlap" in unit.asked
    assert "dst" not in unit.asked


def test_after_names_a_schedule_of_the_project() -> None:
    unit = schedule({**PLAIN, "after": "dump"})
    assert unit.after == f"{unit.project.name}/dump"
    assert unit.times == f"after {unit.project.name}/dump"


def test_the_laravel_scheduler_runs_beside_itself_and_leaves_its_background_tasks_alone() -> None:
    policy = schedule({"preset": "laravel-scheduler"}).policy
    assert (policy.overlap, policy.leaves_background, policy.asks_inside) == ("allow", True, True)
    assert schedule({"preset": "laravel-scheduler", "overlap": "skip"}).policy.overlap == "skip"


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"every": "soon"}, "schedules.backup.every: 'soon' is not a length of time"),
        ({"every": "90s", "cron": "* * * * *"}, "schedules.backup.every: is given beside cron"),
        ({"every": "90s", "after": "x"}, "schedules.backup.after: is given beside every"),
        ({"cron": "* * * * *", "timeout": "long"}, "schedules.backup.timeout: 'long' is not a length"),
        ({"cron": "* * * * *", "timeout": 0}, "schedules.backup.timeout: '0s' is not between"),
        ({"cron": "* * * * *", "jitter": "-1s"}, "schedules.backup.jitter: '-1s' is not a length"),
        ({"cron": "*/10 * * * * *", "spread": True}, "schedules.backup.spread: only times on full minutes"),
        ({"every": "90s", "spread": True}, "schedules.backup.spread: only times on full minutes"),
        ({"after": "x", "spread": True}, "schedules.backup.spread: only times on full minutes"),
        ({"every": "90s", "timezone": "UTC"}, "schedules.backup.timezone: has no meaning with every"),
        ({"after": "x", "dst": "skip"}, "schedules.backup.dst: has no meaning with after"),
        ({"cron": "* * * * *", "only_if": "a | b"}, "schedules.backup.only_if"),
    ],
)
def test_what_cannot_be_is_refused_with_its_path(keys: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError) as refused:
        schedule({**PLAIN, **keys})
    assert complaint in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('overlap = "never"', "schedules.a.overlap"),
        ('catch_up = "all"', "schedules.a.catch_up"),
        ('dst = "robfig"', "schedules.a.dst"),
        ("retries = -1", "schedules.a.retries"),
        ("spread = 1", "schedules.a.spread"),
        ("paused = true", "schedules.a"),
        ('after = "b"', "schedules.a.after: there is no schedule 'b'"),
        ('after = "a"', "schedules.a.after: goes round in a circle: a after a"),
    ],
)
def test_the_file_is_refused_with_the_path_of_the_key(line: str, complaint: str) -> None:
    with pytest.raises(UserError) as refused:
        project_file(f'[schedules.a]\ncommand = "x"\n{line}\n', "shop.toml")
    assert f"shop.toml: {complaint}" in str(refused.value)


def test_a_long_circle_is_found() -> None:
    text = "".join(f'[schedules.{a}]\ncommand = "x"\nafter = "{b}"\n' for a, b in ("ab", "bc", "ca"))
    with pytest.raises(UserError, match="a after b after c after a"):
        project_file(text, "shop.toml")


def test_a_chain_is_no_circle() -> None:
    text = '[schedules.a]\ncommand = "x"\ncron = "0 2 * * *"\n[schedules.b]\ncommand = "y"\nafter = "a"\n'
    assert project_file(text, "shop.toml").schedules["b"].after == "a"
