"""Works out what a project starts with: the file that Node runs, the Celery application and the like.

Sources are searched as text, never imported or executed. A guess is one plain word or several with spaces
between them. None begins with `-`, where a preset puts it as an argument, except the flags that are meant so.
"""

import re
from collections.abc import Iterator, Mapping

from shiftboss.core.lockfiles import PackageJson
from shiftboss.core.release import Guess, existing, printable

Guesses = dict[str, Guess]

NODE_FILES = (
    "server.js",
    "app.js",
    "dist/server.js",
    "dist/main.js",
    "dist/index.js",
    "build/server.js",
    "build/index.js",
    "src/server.js",
    "src/index.js",
    "main.js",
    "index.js",
)
NODE_WORKERS = (
    "worker.js",
    "worker.mjs",
    "worker.cjs",
    "queue-worker.js",
    "workers/index.js",
    "dist/worker.js",
    "dist/workers/index.js",
    "build/worker.js",
    "src/worker.js",
    "src/workers/index.js",
)
# {django} stands for the package that manage.py names; such a file is only looked for in Django projects
PYTHON_SOURCES = (
    "celery_app.py",
    "celeryapp.py",
    "celery_worker.py",
    "tasks.py",
    "worker.py",
    "workers.py",
    "app.py",
    "main.py",
    "wsgi.py",
    "asgi.py",
    "actors.py",
    "broker.py",
    "huey_app.py",
    "settings.py",
    "app/celery_app.py",
    "app/celery.py",
    "app/tasks.py",
    "app/worker.py",
    "app/main.py",
    "{django}/celery.py",
    "{django}/tasks.py",
    "{django}/settings.py",
    "{django}/settings/base.py",
    "{django}/wsgi.py",
    "{django}/asgi.py",
)
HORIZON_CONFIG = "config/horizon.php"

# patterns are text until they are needed (re keeps what it compiled): each status reads releases, most have few files
_SAFE_PATH = r"[A-Za-z0-9_@][A-Za-z0-9_@.+/-]{0,199}"
_PLAIN_WORD = r"[A-Za-z0-9_@%+=:,./-]{1,200}"
_NODE_FLAG = r"--[a-z][a-z0-9-]*(=[A-Za-z0-9_@%+:,./-]+)?"
# flags that take no value; any other without `=` might swallow the file name that follows
_NODE_SWITCHES = frozenset(
    {
        "--enable-source-maps",
        "--trace-warnings",
        "--no-warnings",
        "--no-deprecation",
        "--expose-gc",
        "--use-strict",
    }
)
# the development servers that people leave in scripts.start; none of them is for a server
_DEVELOPMENT = (
    r"(?:^|[\s/])(nodemon|vite|react-scripts|webpack-dev-server|ng\s+serve|next\s+dev|ts-node-dev)\b"
)
_ASSIGNED = r"(?m)^([A-Za-z_]\w{0,63})[ \t]*(?::[ \t]*[\w.]{1,80}[ \t]*)?=[ \t]*(?:[A-Za-z_]\w{0,63}\.)?"


def guess_node(
    manifest: PackageJson, files: frozenset[str], workers: Mapping[str, str]
) -> tuple[Guesses, str]:
    """Work out `node_file` (with `node_flags`, `node_arguments`) or `npm_start`, and `node_worker`.

    `next_start` is known beside `npm_start` if it is Next's, and `node_is_worker` if file and worker are one.
    `workers` are the texts of the files of `NODE_WORKERS` that exist. Returns a note if scripts.start is
    a development server, which is not used.
    """
    found, note = _guess_start(manifest, files)
    found |= _guess_node_worker(manifest, workers)
    if "node_worker" in found and found["node_worker"].value == found.get("node_file", Guess("", "")).value:
        found["node_is_worker"] = found["node_file"]  # one program, not two
    return found, note


def _guess_start(manifest: PackageJson, files: frozenset[str]) -> tuple[Guesses, str]:
    source = "scripts.start in package.json"
    start = manifest.scripts.get("start", "").strip()
    hooks = manifest.scripts.keys() & {"prestart", "poststart"}
    simple = None if hooks else node_words(start)
    if simple:
        keys = ("node_file", "node_flags", "node_arguments")
        return {key: Guess(value, source) for key, value in zip(keys, simple, strict=True) if value}, ""
    if start and not re.search(_DEVELOPMENT, start):
        key = "next_start" if start.split()[:2] == ["next", "start"] else "npm_start"
        return {name: Guess(printable(start), source) for name in ("npm_start", key)}, ""
    note = f"scripts.start in package.json is a development server ({printable(start)})" if start else ""
    return _guess_node_file(manifest, files), note


def _guess_node_file(manifest: PackageJson, files: frozenset[str]) -> Guesses:
    main = safe_path(manifest.main)
    named = existing((main, f"{main}.js"), files) if main else ""
    if named:
        return {"node_file": Guess(named, "main in package.json")}
    usual = existing(NODE_FILES, files)
    return {"node_file": Guess(usual, "the release")} if usual else {}


def node_words(script: str) -> tuple[str, str, str] | None:
    """Return file, flags and arguments of a script that is simply `node [FLAGS] FILE [ARGUMENTS]`, else None."""
    words = script.split()
    if words[:1] != ["node"] or not all(re.fullmatch(_PLAIN_WORD, word) for word in words):
        return None
    at = next((i for i, word in enumerate(words) if i and not word.startswith("-")), 0)
    flags, file = words[1:at], safe_path(words[at]) if at else ""
    if not file or not all(_is_complete_flag(flag) for flag in flags):
        return None
    return file, " ".join(flags), " ".join(words[at + 1 :])


def _is_complete_flag(flag: str) -> bool:
    return bool(re.fullmatch(_NODE_FLAG, flag)) and ("=" in flag or flag in _NODE_SWITCHES)


def _guess_node_worker(manifest: PackageJson, workers: Mapping[str, str]) -> Guesses:
    for script in ("worker", "start:worker", "worker:start", "queue", "start:queue"):
        simple = node_words(manifest.scripts.get(script, ""))
        if simple and not simple[1] and not simple[2]:
            return {"node_worker": Guess(simple[0], f"scripts.{script} in package.json")}
    for path in NODE_WORKERS:
        if "new Worker(" in workers.get(path, ""):
            return {"node_worker": Guess(path, "new Worker(…) in it")}
    return {}


def safe_path(path: str) -> str:
    """Return a path inside the release without a leading `./`, or an empty string if it is none."""
    path = path.strip().removeprefix("./")
    inside = re.fullmatch(_SAFE_PATH, path) and ".." not in path.split("/") and not path.endswith("/")
    return path if inside else ""


def django_package(manage_py: str) -> str:
    """Return the package of Django's settings as manage.py names it (`shop` of `shop.settings`), or empty."""
    pattern = r"""DJANGO_SETTINGS_MODULE["']\s*,\s*["']([A-Za-z_][\w.]{0,127})["']"""
    found = re.search(pattern, manage_py)
    return found[1].rpartition(".settings")[0] if found else ""


def python_sources(django: str) -> tuple[str, ...]:
    """Return the Python files that are worth reading, those of Django's package first if there is one."""
    package = django.replace(".", "/")
    own = [path.replace("{django}", package) for path in PYTHON_SOURCES if "{django}" in path and django]
    return (*own, *(path for path in PYTHON_SOURCES if "{django}" not in path))


def guess_python(sources: Mapping[str, str], django: str) -> Guesses:
    """Work out applications of Celery, Huey, Dramatiq, arq, Procrastinate, WSGI and ASGI from Python sources."""
    found: Guesses = {}
    for path, text in sources.items():
        for key, value in _python_marks(path, text):
            found.setdefault(key, Guess(value, path))
    actors = [_module(path) for path, text in sources.items() if _is_dramatiq(text)]
    if actors:
        found["dramatiq_modules"] = Guess(" ".join(actors), "Python sources with actors or a broker")
    if django:
        found["django"] = Guess(django, "manage.py")
    return found


# what to look for, and how the program that is given the guess wants it written
_CONSTRUCTED = (
    ("celery_app", _ASSIGNED + r"Celery\(", "{module}"),
    ("huey_app", _ASSIGNED + r"\w{0,32}Huey\(", "{module}.{name}"),
    ("asgi_app", _ASSIGNED + r"(?:FastAPI|Starlette|Quart|Litestar|get_asgi_application)\(", "{module}:{name}"),
    ("wsgi_app", _ASSIGNED + r"(?:Flask|Bottle|get_wsgi_application|create_app)\(", "{module}:{name}"),
    ("arq_settings", r"(?m)^class[ \t]+(\w{0,64}WorkerSettings)\b", "{module}.{name}"),
)  # fmt: skip
_PROCRASTINATE = _ASSIGNED + r"App\("
_BEAT = r"\b(?:beat_schedule|CELERY_?BEAT_SCHEDULE|on_after_configure)\b"
_RQ_SETTINGS = r"(?m)^REDIS_(?:URL|HOST)[ \t]*="
_DRAMATIQ = r"(?m)@dramatiq\.actor\b|\bdramatiq\.set_broker\(|^from dramatiq import [^\n]{0,80}\bactor\b"


def _python_marks(path: str, text: str) -> Iterator[tuple[str, str]]:
    module = _module(path)
    for key, pattern, form in _CONSTRUCTED:
        if match := re.search(pattern, text):
            yield key, form.format(module=module, name=match[1])
    if "procrastinate" in text and (match := re.search(_PROCRASTINATE, text)):
        yield "procrastinate_app", f"{module}.{match[1]}"
    if re.search(_BEAT, text):
        yield "celery_beat", "a beat schedule"
    if path == "settings.py" and re.search(_RQ_SETTINGS, text):
        yield "rq_settings", module


def _is_dramatiq(text: str) -> bool:
    return bool(re.search(_DRAMATIQ, text))


def _module(path: str) -> str:
    """Return how Python imports a file; Celery finds `shop/celery.py` by the name of its package."""
    return path.removesuffix(".py").removesuffix("/celery").replace("/", ".")


_QUEUE_KEYS = {
    "database": "DB_QUEUE",
    "redis": "REDIS_QUEUE",
    "sqs": "SQS_QUEUE",
    "beanstalkd": "BEANSTALKD_QUEUE",
    "rabbitmq": "RABBITMQ_QUEUE",
}
_HORIZON_TIMEOUT = r"""["']timeout["'][ \t]*=>[ \t]*([0-9]{1,6})\b"""


def guess_laravel(horizon_config: str, env: Mapping[str, str]) -> Guesses:
    """Work out the default queue from .env, and the longest timeout from the text of config/horizon.php."""
    found: Guesses = {}
    key = _QUEUE_KEYS.get(env.get("QUEUE_CONNECTION", ""), "")
    if env.get(key):
        found["laravel_queue"] = Guess(env[key], f"{key} in .env")
    timeouts = [int(match[1]) for match in re.finditer(_HORIZON_TIMEOUT, horizon_config)]
    if timeouts:
        found["horizon_timeout"] = Guess(str(max(timeouts)), HORIZON_CONFIG)
    return found
