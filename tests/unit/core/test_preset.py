"""Preset files are checked as they are read; presets are proposed, picked and refused with a reason."""

from typing import Any

import pytest
from tests.release_tree import facts_of

from shiftboss.core.errors import UserError
from shiftboss.core.preset import Condition, read_preset
from shiftboss.core.propose import Proposal, cautions, holds, propose, resolve_kind
from shiftboss.core.release import Guess, Package, ReleaseFacts
from shiftboss.setup.detect import load_preset, load_presets

LARAVEL = '{"packages": [{"name": "laravel/framework", "version": "v11.31.0"}]}'
HORIZON = (
    '{"packages": [{"name": "laravel/framework", "version": "v11.31.0"},'
    ' {"name": "laravel/horizon", "version": "v5.29.1"}]}'
)
MINIMAL: dict[str, Any] = {
    "summary": "A thing", "kind": "worker", "unit": "thing", "source": "its page", "verified": True, "rank": 1,
    "command": ["thing"], "stop": {"margin": 10},
}  # fmt: skip


def proposed(texts: dict[str, str | None]) -> list[Proposal]:
    return list(propose(facts_of(texts), load_presets()))


def names(texts: dict[str, str | None]) -> list[tuple[str, str]]:
    return [(proposal.preset_name, proposal.unit_name) for proposal in proposed(texts)]


def resolved(word: str, texts: dict[str, str | None]) -> str:
    return resolve_kind(word, facts_of(texts), load_presets()).name


# Reading a preset file


def test_a_minimal_preset() -> None:
    preset = read_preset("thing", MINIMAL)
    assert (preset.name, preset.stop.signal, preset.stop.scope) == ("thing", "TERM", "main")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"extra": "x"}, "extra"),
        ({"kind": "timer"}, "$.kind"),
        ({"rank": "first"}, "$.rank"),
        ({"stop": {}}, "margin"),
        ({"stop": {"margin": 1, "signal": "STOP"}}, "'STOP' cannot ask a process to end"),
        ({"stop": {"margin": 1, "options": ["timeout"]}}, "'timeout' is not an option with a number"),
        ({"command": ["thing", "--x={y}"]}, "there is no option 'y'"),
        ({"environment": {"X": "{y}"}}, "there is no option 'y'"),
        (
            {"options": {"y": {"type": "string", "help": "h", "default": "{z}"}}},
            "the default '{z}' may only name",
        ),
        (
            {"options": {"y": {"type": "integer", "help": "h", "default": "1"}}},
            "options.y: the default is not",
        ),
        (
            {"options": {"y": {"type": "integer", "help": "h", "default": True}}},
            "options.y: the default is not",
        ),
        ({"options": {"y": {"type": "boolean", "help": "h"}}}, "options.y: a boolean has a flag"),
        ({"options": {"Y-1": {"type": "string", "help": "h"}}}, "options.Y-1: not a name for an option"),
        ({"options": {"unit": {"type": "string", "help": "h"}}}, "options.unit: not a name for an option"),
        (
            {"options": {"y": {"type": "string", "help": "h", "guess": "env.APP_KEY"}}},
            "env.APP_KEY is not among",
        ),
        (
            {"options": {"y": {"type": "integer", "help": "h", "job_timeout": True}}},
            "the job timeout 'y' must be",
        ),
        (
            {"options": {"y": {"type": "integer", "help": "h", "below": "z", "below_why": "w"}}},
            "options.y: below names no option",
        ),
        ({"exit_codes": {"300": "x"}}, "300 is no exit code"),
        ({"cron": "* * * * *"}, "a schedule has one, a worker has none"),
        ({"kind": "schedule"}, "a schedule has one, a worker has none"),
        ({"singleton": "because", "processes": 2}, "a singleton has one"),
        ({"singleton": "because", "singleton_unless": "y"}, "'y' is not a boolean option"),
        ({"source": ""}, "source: missing"),
        ({"detect": [{"file": ["x"]}]}, "detect"),
    ],
)
def test_a_wrong_preset_is_refused_with_its_file_and_what_is_wrong(
    change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UserError) as caught:
        read_preset("thing", {**MINIMAL, **change})
    assert caught.value.where == "presets/thing.toml"
    assert complaint in caught.value.message


def test_an_unknown_preset_is_refused_with_a_suggestion_and_the_place_that_names_it() -> None:
    with pytest.raises(UserError) as caught:
        load_preset("laravel-que", "shop.toml: workers.queue.preset")
    assert "did you mean 'laravel-queue'?" in caught.value.message
    assert str(caught.value).startswith("shop.toml: workers.queue.preset: unknown preset")


def test_a_preset_name_that_is_a_path_reads_no_file() -> None:
    with pytest.raises(UserError, match="unknown preset"):
        load_preset("../presets/node")


# Conditions

FACTS = ReleaseFacts(
    files=frozenset({"a", "b"}),
    php={"x/y": Package("1.0", "composer.lock")},
    python={"rq": Package("", "requirements.txt")},
    guesses={"celery_app": Guess("tasks", "tasks.py")},
    env={"QUEUE_CONNECTION": "redis"},
)


@pytest.mark.parametrize(
    ("condition", "reasons"),
    [
        (Condition(), ()),
        (Condition(files=("a", "b")), ("a", "b")),
        (Condition(files=("a", "c")), None),
        (Condition(any_file=("c", "b", "a")), ("b",)),
        (Condition(any_file=("c",)), None),
        (Condition(php=("z/z", "x/y")), ("x/y 1.0 in composer.lock",)),
        (Condition(php=("z/z",)), None),
        (Condition(python=("rq",)), ("rq in requirements.txt",)),
        (Condition(npm=("rq",)), None),
        (Condition(ruby=("rq",)), None),
        (Condition(guesses=("celery_app",)), ("tasks (tasks.py)",)),
        (Condition(guesses=("celery_app", "huey_app")), None),
        (Condition(no_guesses=("huey_app",)), ()),
        (Condition(no_guesses=("celery_app",)), None),
        (Condition(env={"QUEUE_CONNECTION": ("redis", "x")}), ("QUEUE_CONNECTION=redis in .env",)),
        (Condition(env={"QUEUE_CONNECTION": ("x",)}), None),
        (Condition(env={"PORT": ("1",)}), None),
        (Condition(env_not={"QUEUE_CONNECTION": ("x",), "PORT": ("1",)}), ()),
        (Condition(env_not={"QUEUE_CONNECTION": ("redis",)}), None),
        (Condition(files=("a",), python=("rq",), env_not={"QUEUE_CONNECTION": ("redis",)}), None),
    ],
)
def test_every_part_of_a_condition_must_hold(condition: Condition, reasons: tuple[str, ...] | None) -> None:
    assert holds(condition, FACTS) == reasons


# Proposals


def test_nothing_is_proposed_for_a_release_of_which_nothing_is_known() -> None:
    assert propose(ReleaseFacts(), load_presets()) == ()


def test_a_laravel_project_gets_its_queue_and_its_scheduler() -> None:
    texts: dict[str, str | None] = {"artisan": "", "composer.lock": LARAVEL, ".env": "QUEUE_CONNECTION=redis"}
    assert names(texts) == [("laravel-queue", "queue"), ("laravel-scheduler", "scheduler")]
    assert proposed(texts)[0].reasons == ("artisan", "laravel/framework 11.31.0 in composer.lock")


def test_horizon_takes_the_place_of_the_queue_worker() -> None:
    texts: dict[str, str | None] = {"artisan": "", "composer.lock": HORIZON, ".env": "QUEUE_CONNECTION=redis"}
    assert names(texts) == [("laravel-horizon", "horizon"), ("laravel-scheduler", "scheduler")]
    assert proposed(texts)[0].verified is False


def test_horizon_that_is_installed_but_not_the_queue_in_use_leaves_the_queue_worker() -> None:
    texts: dict[str, str | None] = {
        "artisan": "",
        "composer.lock": HORIZON,
        ".env": "QUEUE_CONNECTION=database",
    }
    assert names(texts) == [("laravel-queue", "queue"), ("laravel-scheduler", "scheduler")]


@pytest.mark.parametrize("connection", ["sync", "null", "deferred", "background"])
def test_a_queue_that_is_none_is_not_proposed_but_can_be_asked_for_and_is_explained(connection: str) -> None:
    texts: dict[str, str | None] = {
        "artisan": "", "composer.lock": LARAVEL, ".env": f"QUEUE_CONNECTION={connection}"
    }  # fmt: skip
    assert names(texts) == [("laravel-scheduler", "scheduler")]
    assert resolved("queue", texts) == "laravel-queue"
    told = cautions(load_preset("laravel-queue"), facts_of(texts))
    assert len(told) == 1
    assert "sync runs them inside the web request" in told[0]


def test_there_is_nothing_to_tell_about_a_queue_that_is_one() -> None:
    texts: dict[str, str | None] = {"artisan": "", "composer.lock": LARAVEL, ".env": "QUEUE_CONNECTION=redis"}
    assert cautions(load_preset("laravel-queue"), facts_of(texts)) == ()


def test_a_stop_scope_against_the_preset_is_explained() -> None:
    celery = load_preset("celery-worker")
    facts = facts_of({"tasks.py": "app = Celery('x')\n", "requirements.txt": "celery"})
    assert "WorkerLostError" in cautions(celery, facts, "group")[0]
    assert cautions(celery, facts, "main") == ()


def test_a_socket_io_server_is_proposed_once() -> None:
    package = '{"scripts": {"start": "node server.js"}, "dependencies": {"socket.io": "^4"}}'
    assert names({"package.json": package, "server.js": ""}) == [("socket.io", "node")]


def test_a_built_next_project_is_proposed_as_such_and_not_as_npm_start() -> None:
    package = '{"scripts": {"start": "next start"}, "dependencies": {"next": "^15"}}'
    assert names({"package.json": package, ".next/BUILD_ID": ""}) == [("nextjs", "node")]


def test_a_next_project_with_a_server_of_its_own_keeps_it() -> None:
    package = '{"scripts": {"start": "tsx server.ts"}, "dependencies": {"next": "^15"}}'
    assert names({"package.json": package, ".next/BUILD_ID": ""}) == [("npm-start", "node")]


def test_one_program_that_is_server_and_worker_is_proposed_once() -> None:
    package = '{"scripts": {"start": "node worker.js"}, "dependencies": {"bullmq": "^5"}}'
    assert names({"package.json": package, "worker.js": "new Worker('x', f)"}) == [("bullmq", "queue")]


def test_two_queues_of_one_project_get_different_names_in_the_order_of_rank() -> None:
    texts: dict[str, str | None] = {
        "artisan": "",
        "composer.lock": LARAVEL,
        "package.json": '{"dependencies": {"bullmq": "^5"}, "scripts": {"worker": "node work.js"}}',
        "requirements.txt": "celery==5.4.0",
    }
    assert names(texts) == [
        ("laravel-queue", "queue"),
        ("celery-worker", "celery-worker"),
        ("bullmq", "bullmq"),
        ("laravel-scheduler", "scheduler"),
    ]


def test_gunicorn_goes_before_uvicorn_where_both_could_run() -> None:
    texts: dict[str, str | None] = {
        "requirements.txt": "gunicorn\nuvicorn\n",
        "app.py": "app = Flask(__name__)\n",
        "main.py": "api = FastAPI()\n",
    }
    assert names(texts) == [("gunicorn", "web")]


def test_procfile_lines_become_workers_but_web_and_release_do_not() -> None:
    texts: dict[str, str | None] = {
        "Procfile": "web: bin/serve\nrelease: bin/migrate\nMailer: bin/mail --fast\nclock: A=1 bin/clock | tee log\n"
    }
    assert [(p.preset_name, p.unit_name, p.command, p.shell, p.reasons) for p in proposed(texts)] == [
        ("custom", "mailer", "bin/mail --fast", False, ("line 'Mailer' of Procfile",)),
        ("custom", "clock", "A=1 bin/clock | tee log", True, ("line 'clock' of Procfile",)),
    ]


def test_a_procfile_line_of_a_known_program_gets_its_preset_and_is_not_proposed_twice() -> None:
    texts: dict[str, str | None] = {
        "artisan": "",
        "composer.lock": LARAVEL,
        "Procfile": "worker: php artisan queue:work --queue=high\nbeat: celery -A shop beat\n",
    }
    assert [(p.preset_name, p.unit_name, p.command) for p in proposed(texts)] == [
        ("laravel-queue", "worker", "php artisan queue:work --queue=high"),
        ("laravel-scheduler", "scheduler", None),
        ("celery-beat", "beat", "celery -A shop beat"),
    ]


def test_a_procfile_line_that_starts_the_worker_that_was_found_is_not_proposed_twice() -> None:
    package = '{"dependencies": {"bullmq": "^5"}}'
    texts: dict[str, str | None] = {
        "package.json": package, "worker.js": "new Worker('x', f)", "Procfile": "mails: node ./worker.js --fast"
    }  # fmt: skip
    assert [(p.preset_name, p.unit_name, p.command) for p in proposed(texts)] == [
        ("bullmq", "mails", "node ./worker.js --fast")
    ]


def test_many_procfile_lines_get_legal_and_different_names() -> None:
    lines = (
        "".join(f"{'worker' * 9}_{number}: bin/work {number}\n" for number in range(30))
        + "___: bin/x\n-A-: bin/y\n"
    )
    found = [proposal.unit_name for proposal in proposed({"Procfile": lines})]
    assert len(found) == len(set(found)) == 32
    for name in found:
        read_preset("thing", {**MINIMAL, "unit": name})  # raises for an illegal name


# Words


@pytest.mark.parametrize(
    ("word", "preset"),
    [
        ("horizon", "laravel-horizon"), ("reverb", "laravel-reverb"), ("octane", "laravel-octane"),
        ("celery", "celery-worker"), ("beat", "celery-beat"), ("scheduler", "laravel-scheduler"),
        ("socketio", "socket.io"), ("messenger", "symfony-messenger"), ("custom", "custom"), ("rq", "rq"),
        ("schedule-work", "laravel-schedule-work"), ("pulse", "laravel-pulse"), ("procfile", "procfile"),
    ],
)  # fmt: skip
def test_short_names_of_presets(word: str, preset: str) -> None:
    assert resolved(word, {"artisan": "", "bin/console": "", "bootstrap/ssr/ssr.js": ""}) == preset


@pytest.mark.parametrize(
    ("texts", "preset"),
    [
        ({"artisan": "", "composer.lock": LARAVEL}, "laravel-queue"),
        ({"artisan": "", "composer.json": '{"require": {"laravel/framework": "^8"}}'}, "laravel-queue"),
        ({"requirements.txt": "celery\n"}, "celery-worker"),
        ({"Gemfile.lock": "    sidekiq (7.1)\n"}, "sidekiq"),
        ({"package.json": '{"dependencies": {"bullmq": "5"}}', "worker.js": "new Worker("}, "bullmq"),
        (
            {"bin/console": "", "composer.json": '{"require": {"symfony/messenger": "^7"}}'},
            "symfony-messenger",
        ),
    ],
)
def test_queue_means_what_the_project_uses(texts: dict[str, str | None], preset: str) -> None:
    assert resolved("queue", texts) == preset


@pytest.mark.parametrize(
    ("texts", "preset"),
    [
        ({"server.js": ""}, "node"),
        ({"package.json": '{"scripts": {"start": "node x.js"}}'}, "node"),
        ({"package.json": '{"scripts": {"start": "A=1 node x.js"}}', "server.js": ""}, "npm-start"),
        ({"package.json": '{"dependencies": {"socket.io": "4"}}', "server.js": ""}, "socket.io"),
        (
            {"package.json": '{"dependencies": {"socket.io": "4"}, "scripts": {"start": "tsx s.ts"}}'},
            "npm-start",
        ),
        ({".output/server/index.mjs": "", "server.js": ""}, "nuxt"),
    ],
)
def test_node_means_what_the_project_starts_with(texts: dict[str, str | None], preset: str) -> None:
    assert resolved("node", texts) == preset


def refusal(word: str, texts: dict[str, str | None]) -> UserError:
    with pytest.raises(UserError) as caught:
        resolved(word, texts)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


def test_queue_on_a_horizon_project_says_so_and_proposes_horizon() -> None:
    error = refusal("queue", {"artisan": "", "composer.lock": HORIZON, ".env": "QUEUE_CONNECTION=redis"})
    assert "laravel-horizon" in error.message
    assert "laravel/horizon 5.29.1 in composer.lock" in error.message
    assert "'horizon'" in error.hint


def test_the_queue_worker_can_be_had_beside_horizon_by_its_full_name_and_is_warned_of() -> None:
    texts: dict[str, str | None] = {"artisan": "", "composer.lock": HORIZON}
    assert resolved("laravel-queue", texts) == "laravel-queue"
    assert "Horizon is installed" in cautions(load_preset("laravel-queue"), facts_of(texts))[0]


@pytest.mark.parametrize(
    ("word", "looked_for"),
    [("queue", ["laravel/framework", "celery", "sidekiq"]), ("node", ["server.js", "package.json"])],
)
def test_a_word_that_fits_nothing_says_what_was_looked_for(word: str, looked_for: list[str]) -> None:
    error = refusal(word, {"index.html": ""})
    assert all(sign in error.hint for sign in looked_for)
    assert "custom -- " in error.hint


def test_what_could_not_be_read_is_told_where_nothing_fits() -> None:
    assert (
        "composer.lock is not a valid JSON object"
        in refusal("queue", {"artisan": "", "composer.lock": "{"}).hint
    )


def test_an_unknown_kind_is_refused_with_a_suggestion_and_the_list() -> None:
    error = refusal("quue", {})
    assert "did you mean 'queue'?" in error.message
    assert "laravel-reverb" in error.hint
    assert len(refusal("x" * 500, {}).message) < 100


def test_a_last_part_that_several_presets_share_is_not_a_name() -> None:
    presets = {name: read_preset(name, MINIMAL) for name in ("a-work", "b-work")}
    with pytest.raises(UserError, match="unknown kind"):
        resolve_kind("work", ReleaseFacts(), presets)


@pytest.mark.parametrize("word", ["laravel-queue", "scheduler", "horizon", "reverb"])
def test_a_preset_whose_files_are_not_in_the_release_is_refused(word: str) -> None:
    assert "needs artisan, and the release does not have it" in refusal(word, {"server.js": ""}).message
