"""What is read of a release: packages, entry points, `.env`, Procfile; and that hostile files do no harm."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.release_tree import ClosedTree, ReleaseTree, facts_in, facts_of

from shiftboss.core.entrypoints import node_words, safe_path
from shiftboss.core.lockfiles import (
    PackageJson,
    read_composer_json,
    read_composer_lock,
    read_gemfile_lock,
    read_npm_packages,
    read_package_json,
    read_pipfile_lock,
    read_pyproject,
    read_python_lock,
    read_requirements,
)
from shiftboss.core.release import ENV_KEYS, Guess, Package, needs_shell, printable, read_env, read_procfile

NESTED = 200_000


def version_of(packages: dict[str, Package], name: str) -> str:
    return packages[name].version


# Packages


def test_composer_lock_gives_versions_without_the_v_and_no_development_packages() -> None:
    text = json.dumps(
        {
            "packages": [{"name": "laravel/framework", "version": "v11.31.0", "require": {"php": "^8.2"}}],
            "packages-dev": [{"name": "laravel/horizon", "version": "v5.0.0"}],
        }
    )
    assert read_composer_lock(text) == ({"laravel/framework": Package("11.31.0", "composer.lock")}, "")


def test_without_composer_lock_the_requirements_of_composer_json_count() -> None:
    facts = facts_of({"composer.json": '{"require": {"laravel/framework": "^8.83"}}'})
    assert facts.php == {"laravel/framework": Package("^8.83", "composer.json")}


def test_where_lock_and_manifest_name_a_package_the_lock_counts() -> None:
    facts = facts_of(
        {
            "composer.json": '{"require": {"laravel/framework": "^11.0", "php": "^8.2"}}',
            "composer.lock": '{"packages": [{"name": "laravel/framework", "version": "v11.31.0"}]}',
        }
    )
    assert facts.php["laravel/framework"] == Package("11.31.0", "composer.lock")


@pytest.mark.parametrize(
    "lock",
    [
        {"lockfileVersion": 3, "packages": {"": {"name": "x"}, "node_modules/bullmq": {"version": "5.1.0"}}},
        {"lockfileVersion": 1, "dependencies": {"bullmq": {"version": "5.1.0", "requires": {}}}},
    ],
)
def test_npm_versions_come_from_either_form_of_package_lock(lock: dict[str, object]) -> None:
    manifest = PackageJson(dependencies={"bullmq": "^5"})
    assert read_npm_packages(manifest, json.dumps(lock)) == (
        {"bullmq": Package("5.1.0", "package-lock.json")},
        "",
    )


def test_only_direct_dependencies_of_a_node_project_count() -> None:
    lock = {"packages": {"node_modules/socket.io": {"version": "4.8.4"}}}
    manifest, _ = read_package_json(
        '{"devDependencies": {"socket.io": "^4"}, "dependencies": {"express": "^4"}}'
    )
    found, _ = read_npm_packages(manifest, json.dumps(lock))
    assert found == {"express": Package("^4", "package.json")}


def test_python_packages_of_generated_locks_by_their_normal_names() -> None:
    poetry = '[[package]]\nname = "Django_Celery.Beat"\nversion = "2.7.0"\n\n[[package]]\nname = "rq"\nversion = "2.0"\n'
    found, note = read_python_lock(poetry, "poetry.lock")
    assert found == {
        "django-celery-beat": Package("2.7.0", "poetry.lock"),
        "rq": Package("2.0", "poetry.lock"),
    }
    assert note == ""


def test_requirements_with_extras_markers_comments_includes_and_addresses() -> None:
    text = (
        "# comment\n-r base.txt\n--hash=sha256:1\ncelery[redis]==5.4.0 ; python_version > '3.8'\n"
        "Huey >= 2.5  # queue\ngit+https://example.org/x.git\nrq @ https://example.org/rq.whl\nuvicorn\n\n"
    )
    found, _ = read_requirements(text, "requirements.txt")
    assert {name: package.version for name, package in found.items()} == {
        "celery": "5.4.0",
        "huey": ">= 2.5",
        "uvicorn": "",
    }


def test_pyproject_of_the_standard_and_of_poetry() -> None:
    standard, _ = read_pyproject('[project]\ndependencies = ["arq>=0.26", "dramatiq[redis]==1.17.1"]\n')
    assert (version_of(standard, "arq"), version_of(standard, "dramatiq")) == (">=0.26", "1.17.1")
    poetry, _ = read_pyproject(
        '[tool.poetry.dependencies]\ncelery = {version = "^5", extras = ["redis"]}\nrq = "^2"\n'
    )
    assert (version_of(poetry, "celery"), version_of(poetry, "rq")) == ("", "^2")


def test_pipfile_lock_and_gemfile_lock() -> None:
    pip, _ = read_pipfile_lock(
        '{"default": {"rq": {"version": "==2.0"}}, "develop": {"huey": {"version": "==1"}}}'
    )
    assert pip == {"rq": Package("2.0", "Pipfile.lock")}
    gems, _ = read_gemfile_lock(
        "GEM\n  specs:\n    sidekiq (7.3.5)\n      rack (>= 2.2)\n\nDEPENDENCIES\n  sidekiq\n"
    )
    assert gems == {"sidekiq": Package("7.3.5", "Gemfile.lock")}


# Hostile input

PARSERS = {
    "composer.lock": read_composer_lock,
    "composer.json": read_composer_json,
    "Pipfile.lock": read_pipfile_lock,
    "Gemfile.lock": read_gemfile_lock,
    "pyproject.toml": read_pyproject,
}
BROKEN = [
    "", "null", "[]", "{", '"text"', "{}}", "\x00", "\ud800", "�" * 50, "[" * NESTED, '{"a":' * NESTED,
    '{"packages": {"a": 1}, "require": [], "default": 7, "main": {}, "scripts": [1], "dependencies": "x"}',
    '{"packages": [{"name": 1, "version": {}}]}', '{"packages": ' + "[" * NESTED + "}", "a.b = [" * 2000,
    "[[package]]\nname = \n" * 100, "x = " + "[" * 3000, "a" * 200_000, "=" * 100_000, "\n" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_tells_nothing_and_raises_nothing(name: str, text: str) -> None:
    found, note = PARSERS[name](text)
    assert found == {}
    assert note == "" or note.startswith(name)


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("composer.lock", "{broken", "not a valid JSON object"),
        ("composer.lock", '{"packages": 5}', "'packages' is not what it should be"),
        ("package.json", '{"scripts": {"start": ["node"]}}', "'scripts' is not what it should be"),
        ("package.json", "[" * NESTED, "not a valid JSON object"),
        ("pyproject.toml", "[project\n", "not valid TOML"),
        ("pyproject.toml", "a" + ".a" * 5000 + " = 1", "lines that are too long"),
        ("Procfile", "worker = php work\nweb: x\n", "lines that are not 'name: command': 1"),
    ],
)
def test_what_could_not_be_understood_is_noted_with_the_name_of_the_file(
    name: str, text: str, part: str
) -> None:
    notes = facts_of({name: text}).notes
    assert len(notes) == 1
    assert notes[0].startswith(name)
    assert part in notes[0]


def test_one_wrong_field_of_package_json_leaves_the_others() -> None:
    value, note = read_package_json('{"main": 5, "scripts": {"start": "node x.js"}}')
    assert value == PackageJson(scripts={"start": "node x.js"})
    assert "'main'" in note


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
field_names = st.sampled_from(["packages", "require", "default", "main", "scripts", "dependencies"])


@given(st.dictionaries(field_names, json_values, max_size=6).map(json.dumps) | st.text(max_size=200))
@example('{"dependencies": {"socket.io": "\\u001b[31m4"}}')
def test_nothing_that_a_project_writes_raises_or_gives_text_that_a_terminal_obeys(text: str) -> None:
    files = [
        ".env", "composer.lock", "composer.json", "package.json", "package-lock.json", "poetry.lock", "Pipfile.lock",
        "requirements.txt", "pyproject.toml", "Gemfile.lock", "Procfile", "manage.py", "artisan", "worker.js",
        "config/horizon.php", "tasks.py", "settings.py",
    ]  # fmt: skip
    facts = facts_of(dict.fromkeys(files, text))
    shown = [*facts.notes, *facts.env.values()]
    for packages in (facts.php, facts.npm, facts.python, facts.ruby):
        shown += [f"{name} {package.version}" for name, package in packages.items()]
    shown += [guess.value for guess in facts.guesses.values()]
    assert all(line.isprintable() for line in shown)
    assert facts.env.keys() <= ENV_KEYS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("poetry.lock", '[[package]]\nname = "a' * 60_000),
        ("Gemfile.lock", "    a (" * 140_000),
        ("requirements.txt", "a[" * 500_000),
        ("requirements.txt", "a[\n" * 300_000),
        ("pyproject.toml", ("a" + ".a" * 2000 + " = 1\n") * 250),
        ("tasks.py", "a = " * 250_000),
        ("tasks.py", "a: b.c = d." * 90_000),
        ("manage.py", "DJANGO_SETTINGS_MODULE', '" * 40_000),
        ("config/horizon.php", "'timeout' => " * 80_000),
        ("package.json", json.dumps({"scripts": {"start": "node " + "--a " * 200_000}})),
        (".env", "A" * 1_000_000),
        (".env", "export " * 140_000),
        ("Procfile", "a:" * 500_000),
        ("composer.lock", '{"packages": [' + '{"name": "a/b", "version": "1"},' * 100_000 + "{}]}"),
    ],
)
def test_a_file_of_a_megabyte_made_to_be_slow_is_read_in_seconds(name: str, text: str) -> None:
    tree = ReleaseTree({"manage.py": "", "artisan": "", name: text})
    start = time.process_time()  # what is quadratic takes hours; other processes do not count
    facts_in(tree)
    assert time.process_time() - start < 20


# .env and Procfile


def test_of_env_only_harmless_keys_are_kept() -> None:
    text = (
        "APP_KEY=base64:secret\nDB_PASSWORD=hunter2\nQUEUE_CONNECTION=redis\nexport NODE_ENV='staging'\n"
        'OCTANE_SERVER="swoole" # comment\nPORT = 8080 # comment\n# REDIS_QUEUE=no\n'
    )
    assert read_env(text) == {
        "QUEUE_CONNECTION": "redis",
        "NODE_ENV": "staging",
        "OCTANE_SERVER": "swoole",
        "PORT": "8080",
    }


def test_of_two_lines_the_last_one_counts_even_if_its_value_cannot_be_used() -> None:
    assert read_env("PORT=1\nPORT=2\n") == {"PORT": "2"}
    assert read_env("PORT=1\nPORT=${OTHER}\n") == {}


@pytest.mark.parametrize("value", ["$(id)", "a b", "${X}", "-x", "\x1b[31m", "", "x" * 200])
def test_odd_values_of_env_are_left_out(value: str) -> None:
    assert read_env(f"QUEUE_CONNECTION={value}\n") == {}


def test_procfile_keeps_the_order_and_the_first_of_two_lines_of_one_name() -> None:
    lines, note = read_procfile("# c\nweb: a\nworker: b --x\n\nworker: c\n")
    assert lines == (("web", "a"), ("worker", "b --x"))
    assert note == "Procfile: lines that are not 'name: command': 1"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("php artisan queue:work --queue=a,b", False),
        ("bin/work --port $PORT", True),
        ("RAILS_ENV=production bin/work", True),
        ("a && b", True),
        ("a 'b;c'", False),
        ("./a=b/c x", False),
        ("a 'open", True),
    ],
)
def test_which_lines_only_a_shell_understands(command: str, expected: bool) -> None:
    assert needs_shell(command) is expected


def test_text_for_a_terminal_is_short_and_has_no_control_characters() -> None:
    assert printable("a\x1b[31m\nb") == "a?[31m?b"
    assert printable("x" * 100) == "x" * 64 + "…"


# Entry points


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("node server.js", ("server.js", "", "")),
        ("node ./dist/main", ("dist/main", "", "")),
        ("node --enable-source-maps app.js --port 3000", ("app.js", "--enable-source-maps", "--port 3000")),
        ("node --max-old-space-size=512 app.js", ("app.js", "--max-old-space-size=512", "")),
        ("node -r dotenv/config server.js", None),
        ("node --require dotenv/config server.js", None),
        ("NODE_ENV=production node server.js", None),
        ("node server.js && echo", None),
        ("node $FILE", None),
        ("node ../server.js", None),
        ("node /etc/passwd", None),
        ("node", None),
        ("node --version", None),
        ("tsx server.ts", None),
        ("", None),
    ],
)
def test_a_start_script_is_simple_only_if_nothing_in_it_needs_npm_or_a_shell(
    script: str, expected: tuple[str, str, str] | None
) -> None:
    assert node_words(script) == expected


def guess_value(facts_guesses: object, key: str) -> str | None:
    assert isinstance(facts_guesses, dict)
    return facts_guesses[key].value if key in facts_guesses else None


@pytest.mark.parametrize(
    ("texts", "file", "npm"),
    [
        ({"package.json": '{"scripts": {"start": "node a.js"}, "main": "b.js"}', "b.js": ""}, "a.js", None),
        ({"package.json": '{"main": "./b.js"}', "b.js": "", "server.js": ""}, "b.js", None),
        ({"package.json": '{"main": "lib/b"}', "lib/b.js": ""}, "lib/b.js", None),
        ({"package.json": '{"main": "gone.js"}', "server.js": ""}, "server.js", None),
        ({"package.json": '{"main": "../../etc/passwd"}', "app.js": ""}, "app.js", None),
        ({"server.js": ""}, "server.js", None),
        ({"package.json": '{"scripts": {"start": "A=1 node a.js"}}', "server.js": ""}, None, "A=1 node a.js"),
        ({"package.json": '{"scripts": {"start": "node a.js", "prestart": "x"}}'}, None, "node a.js"),
        ({"package.json": '{"scripts": {"start": "nodemon server.js"}}', "server.js": ""}, "server.js", None),
        ({"package.json": "{}"}, None, None),
    ],
)
def test_what_node_starts_with(texts: dict[str, str | None], file: str | None, npm: str | None) -> None:
    guesses = facts_of(texts).guesses
    assert (guess_value(guesses, "node_file"), guess_value(guesses, "npm_start")) == (file, npm)


def test_a_development_server_in_scripts_start_is_not_used_and_noted() -> None:
    facts = facts_of({"package.json": '{"scripts": {"start": "react-scripts start"}}'})
    assert facts.guesses == {}
    assert facts.notes == ("scripts.start in package.json is a development server (react-scripts start)",)


def test_django_gives_the_applications_of_its_own_package() -> None:
    facts = facts_of(
        {
            "manage.py": "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings.production')",
            "shop/celery.py": "app = Celery('shop')\n",
            "shop/wsgi.py": "application = get_wsgi_application()\n",
            "shop/asgi.py": "application = get_asgi_application()\n",
            "shop/settings/base.py": "CELERY_BEAT_SCHEDULE = {}\n",
        }
    )
    assert {key: guess.value for key, guess in facts.guesses.items()} == {
        "django": "shop",
        "celery_app": "shop",
        "wsgi_app": "shop.wsgi:application",
        "asgi_app": "shop.asgi:application",
        "celery_beat": "a beat schedule",
    }


@pytest.mark.parametrize(
    ("path", "text", "key", "value"),
    [
        ("tasks.py", "app: Celery = Celery('x')", "celery_app", "tasks"),
        ("app/celery_app.py", "celery = celery_lib.Celery(__name__)", "celery_app", "app.celery_app"),
        ("tasks.py", "queue = huey.SqliteHuey('x')", "huey_app", "tasks.queue"),
        ("worker.py", "class MyWorkerSettings(Base):", "arq_settings", "worker.MyWorkerSettings"),
        ("app/main.py", "api = FastAPI(title='x')", "asgi_app", "app.main:api"),
        ("wsgi.py", "app = create_app()", "wsgi_app", "wsgi:app"),
        ("app.py", "import procrastinate\napp = procrastinate.App()", "procrastinate_app", "app.app"),
        ("actors.py", "from dramatiq import actor\n@actor\ndef a(): ...", "dramatiq_modules", "actors"),
        ("settings.py", "REDIS_HOST = 'x'", "rq_settings", "settings"),
    ],
)
def test_what_python_programs_start_with(path: str, text: str, key: str, value: str) -> None:
    facts = facts_of({"requirements.txt": "anything==1", path: f"# first line\n{text}\n"})
    assert facts.guesses[key].value == value


def test_indented_or_commented_applications_are_none() -> None:
    facts = facts_of(
        {"requirements.txt": "celery", "tasks.py": "# app = Celery('x')\n    app = Celery('y')\n"}
    )
    assert facts.guesses == {}


def test_the_longest_timeout_of_horizon_and_the_queue_of_the_connection_in_use() -> None:
    facts = facts_of(
        {
            "artisan": "",
            ".env": "QUEUE_CONNECTION=redis\nREDIS_QUEUE=mails\nDB_QUEUE=other\n",
            "config/horizon.php": "'timeout' => 60, \"timeout\" => 900,",
        }
    )
    assert facts.guesses["horizon_timeout"] == Guess("900", "config/horizon.php")
    assert facts.guesses["laravel_queue"] == Guess("mails", "REDIS_QUEUE in .env")


@given(st.text(max_size=60))
@example("-rf.js")
@example("a/../../b.js")
@example("/etc/passwd")
@example("a\nb.js")
def test_a_path_from_the_project_stays_inside_it_and_is_no_option(path: str) -> None:
    safe = safe_path(path)
    assert not safe.startswith(("/", "-", "."))
    assert ".." not in safe.split("/")
    assert safe.isprintable()
    assert " " not in safe


# Reading


def test_a_file_that_is_there_and_cannot_be_read_is_noted() -> None:
    facts = facts_of({"package.json": None, "artisan": ""})
    assert facts.notes == (
        "package.json is left out: shop_user cannot read it, or it is no file of at most 1 MiB",
    )
    assert "artisan" in facts.files


def test_lock_files_may_be_larger_than_other_files() -> None:
    padding = " " * 2_000_000
    facts = facts_of(
        {
            "composer.lock": '{"packages": [{"name": "laravel/framework", "version": "v1"}]}' + padding,
            "composer.json": '{"require": {"laravel/horizon": "^5"}}' + padding,
        }
    )
    assert set(facts.php) == {"laravel/framework"}
    assert [note.partition(" ")[0] for note in facts.notes] == ["composer.json"]


def test_a_machine_that_refuses_everything_tells_nothing_but_notes() -> None:
    facts = facts_in(ClosedTree({"artisan": ""}))
    assert facts.files == frozenset()
    assert facts.php == {}
    assert any("input/output error" in note for note in facts.notes)


def test_a_virtualenv_is_found_in_the_release_first_then_in_shared_then_in_the_project() -> None:
    assert facts_of({"venv/bin/python3": "", "../.venv/bin/python3": ""}).venv == "/srv/shop/current/venv"
    assert (
        facts_of({"../shared/venv/bin/python3": "", "../venv/bin/python3": ""}).venv
        == "/srv/shop/shared/venv"
    )
    assert facts_of({"../.venv/bin/python3": ""}).venv == "/srv/shop/.venv"
    assert facts_of({".venv/": ""}).venv == ""


def test_a_project_without_python_has_none_of_its_python_files_read() -> None:
    tree = ReleaseTree({"artisan": "", "tasks.py": "app = Celery()"})
    facts_in(tree)
    assert not [path for path in tree.read if path.endswith(".py")]
