"""Every preset file: it is read, it is proposed for its own example, and expands to what the example says."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shiftboss import presets as preset_files
from shiftboss.core.entrypoints import NODE_FILES
from shiftboss.core.expand import CUSTOM, expand_schedule, expand_worker, programs_needed, search_path
from shiftboss.core.preset import Condition, Preset, read_preset
from shiftboss.core.propose import SHORT_NAMES, fits, propose, resolve_kind
from shiftboss.core.release import ENV_KEYS, MARKER_FILES
from shiftboss.core.spec import Schedule, Worker
from shiftboss.core.tables import ScheduleTable, WorkerTable
from shiftboss.setup.detect import load_preset, load_presets, preset_names, without_example
from tests.release_tree import PROJECT, ReleaseTree, facts_in

DIRECTORY = Path(next(iter(preset_files.__path__)))
NAMES = preset_names()
VERIFIED = {
    "laravel-queue", "laravel-scheduler", "laravel-schedule-work", "node", "npm-start", "socket.io", "custom",
    "procfile", "bullmq", "celery-worker", "celery-beat", "rq", "huey", "dramatiq", "gunicorn", "uvicorn",
}  # fmt: skip
FROM_DOCUMENTATION = {
    "laravel-horizon", "laravel-reverb", "laravel-octane", "laravel-pulse", "inertia-ssr", "symfony-messenger",
    "nextjs", "nuxt", "arq", "procrastinate", "django-q2", "puma", "sidekiq", "solid_queue",
}  # fmt: skip

each_preset = pytest.mark.parametrize("name", NAMES)


def table_of(name: str) -> dict[str, Any]:
    return tomllib.loads((DIRECTORY / f"{name}.toml").read_text())


def example_of(name: str) -> tuple[dict[str, Any], ReleaseTree]:
    example = table_of(name)["example"]
    return example, ReleaseTree(example["release"])


def expanded(preset: Preset, example: dict[str, Any], tree: ReleaseTree) -> Worker | Schedule:
    facts = facts_in(tree)
    kind = WorkerTable if preset.kind == "worker" else ScheduleTable
    table = msgspec.convert({"preset": preset.name, **example.get("table", {})}, kind)
    where = f"shop.toml: {preset.kind}s.{preset.unit}"
    unit = "worker" if preset.name == "procfile" else preset.unit
    words = programs_needed(unit, table, preset, facts, where)
    programs = tree.programs(words, search_path(PROJECT, facts))
    if isinstance(table, WorkerTable):
        return expand_worker(unit, table, preset, PROJECT, facts, programs, where, "supervisor")
    return expand_schedule(unit, table, preset, PROJECT, facts, programs, where, "cron")


def test_there_is_a_preset_for_everything_promised_and_it_says_if_it_was_run() -> None:
    assert {name: load_preset(name).verified for name in NAMES} == {
        **dict.fromkeys(VERIFIED, True),
        **dict.fromkeys(FROM_DOCUMENTATION, False),
    }


@each_preset
def test_the_example_stands_last_and_is_left_out_when_a_preset_is_loaded(name: str) -> None:
    text = (DIRECTORY / f"{name}.toml").read_text()
    loaded = tomllib.loads(without_example(text))
    assert "example" not in loaded
    assert {key: value for key, value in table_of(name).items() if key != "example"} == loaded
    assert load_preset(name) == read_preset(name, table_of(name))


@each_preset
def test_it_expands_for_its_example_to_the_command_environment_and_stop_policy_written_there(
    name: str,
) -> None:
    example, tree = example_of(name)
    unit = expanded(load_preset(name), example, tree)
    assert list(unit.argv) == example["argv"]
    assert dict(unit.environment) == example.get("environment", {})
    if isinstance(unit, Worker):
        assert [unit.stop.signal, unit.stop.wait_seconds, unit.stop.scope] == example["stop"]
    else:
        assert unit.cron == example["cron"]


@each_preset
def test_it_is_proposed_for_its_example_with_the_reasons_written_there(name: str) -> None:
    example, tree = example_of(name)
    facts = facts_in(tree)
    proposals = {proposal.preset_name: proposal for proposal in propose(facts, load_presets())}
    if example.get("proposed", True):
        assert list(proposals[name].reasons) == example["reasons"]
        assert proposals[name].verified == load_preset(name).verified
    else:
        assert list(fits(load_preset(name), facts) or ()) == example.get("reasons", [])
        assert name not in proposals
    assert facts.notes == ()


@each_preset
def test_its_name_and_its_short_names_lead_to_it(name: str) -> None:
    facts = facts_in(example_of(name)[1])
    for word in (name, *load_preset(name).aliases):
        assert resolve_kind(word, facts, load_presets()) == load_preset(name)


def test_no_short_name_means_two_presets_or_hides_one() -> None:
    aliases = [alias for name in NAMES for alias in load_preset(name).aliases]
    assert sorted(aliases) == sorted(set(aliases) - set(NAMES) - set(SHORT_NAMES))


def conditions(preset: Preset) -> list[Condition]:
    return [
        *preset.detect,
        *(variant.when for variant in preset.variants),
        *(caution.when for caution in preset.cautions),
    ]


@each_preset
def test_it_only_asks_for_files_and_keys_that_are_looked_for(name: str) -> None:
    for condition in conditions(load_preset(name)):
        assert set(condition.files) | set(condition.any_file) <= set(MARKER_FILES)
        assert condition.env.keys() | condition.env_not.keys() <= ENV_KEYS
    assert set(NODE_FILES) <= set(MARKER_FILES)


@each_preset
def test_the_presets_it_excludes_exist(name: str) -> None:
    assert set(load_preset(name).excludes) <= set(NAMES) - {name}


@each_preset
def test_it_leaves_a_job_the_time_it_may_take_and_a_margin(name: str) -> None:
    preset = load_preset(name)
    assert preset.stop.margin >= 5
    for option in preset.options.values():
        if option.job_timeout and preset.stop.default is not None:
            assert option.default is None, "the usual wait would never be used"


@each_preset
def test_no_option_takes_a_secret_onto_the_command_line(name: str) -> None:
    assert not {"url", "password", "token", "secret", "dsn", "broker"} & load_preset(name).options.keys()


@each_preset
def test_help_and_meanings_read_as_part_of_a_sentence(name: str) -> None:
    preset = load_preset(name)
    for option in preset.options.values():
        assert not option.help.endswith(".")
    assert not any(text.endswith(".") or len(text) > 110 for text in preset.exit_codes.values())


def test_a_command_without_a_preset_is_what_the_preset_custom_says() -> None:
    assert load_preset("custom") == CUSTOM


def test_only_queue_and_node_are_groups_and_each_has_its_members_in_a_strict_order() -> None:
    for group in ("queue", "node"):
        ranks = [preset.rank for preset in load_presets().values() if preset.group == group]
        assert len(ranks) == len(set(ranks)) > 3
