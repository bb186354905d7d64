"""Workers with every text that is hard to write into a Supervisor file, for property tests."""

from hypothesis import strategies as st
from msgspec.structs import replace

from shiftboss.core.spec import Account, Environment, Project, Worker

ACCOUNT = Account("root", 0, 0, "root", "/root")  # a user that every machine has
PROGRAM = "/bin/sh"  # Supervisor looks whether it is there

TRICKY = [
    " ;", " #", "\t;", "\u00a0;", "\u2028#", "\x1f;", "é;", ";", "#", "%", "%%", "%s", "%(here)s", "%%(here)s", "%(ENV_HOME)s",
    "%(program_name)s", "%(process_num)02d", "'", '"', "\\", "\\\\", "\\'", "$", "${HOME}", "`id`", "{}", "[program:x]",
    "=", ":", ",", " ", "  ", "\u3000", "~", "*", "é", "日本語", "🙂", "-", "a", "A=1", "\x85", "\x1c",
]  # fmt: skip
NO_LINE_BREAK = st.characters(codec="utf-8", exclude_characters="\0\n\r")
TEXT = st.lists(st.sampled_from(TRICKY) | NO_LINE_BREAK, max_size=8).map("".join)
WORDS = st.lists(TEXT, max_size=5).map(lambda rest: (PROGRAM, *rest))
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
ENVIRONMENTS = st.dictionaries(NAMES, TEXT, max_size=4).map(lambda variables: tuple(variables.items()))
UNQUOTED = TEXT.map(lambda text: text.replace("'", "").replace('"', ""))


def worker(
    argv: tuple[str, ...] = (PROGRAM, "-c", "true"),
    environment: Environment = (),
    *,
    directory: str = "/srv",
    logs: str = "/tmp",
    **changes: object,
) -> Worker:
    """A worker of the project myapp; `changes` are any other fields."""
    project = Project("myapp", directory, logs, ACCOUNT)
    plain = Worker(project, "queue", "custom", "supervisor", argv, environment=environment)
    return replace(plain, **changes)  # type: ignore[arg-type]  # the fields of a dataclass by name
