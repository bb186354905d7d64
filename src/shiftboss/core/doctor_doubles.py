"""Programs and crontab lines of others that run what a project of ours runs already: everything happens twice."""

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping

from shiftboss.core.doctor import Finding
from shiftboss.core.spec import Project, Unit

# (script, verb): `artisan` `queue:work`; a program without verbs has ""
Signature = tuple[str, str]
_INTERPRETERS = re.compile(r"(php|node|python|ruby|perl|bun|deno)[0-9.]*")
_WITH_VERBS = frozenset({"artisan", "console", "manage.py"})
_SAME = {"schedule:work": "schedule:run"}
_PROGRAM = re.compile(r"(?m)^[ \t]*\[(program|fcgi-program|group|[^\]\n]*):?([^\]\n]*)\]")
_LONGEST = 4096


def signature(words: list[str], directory: str, aliases: Mapping[str, str]) -> Signature | None:
    """Return what a command runs: the absolute path of its script and its verb; None for what has no script.

    `aliases`: a release's real directory to the link `current`, so that both name one program.
    """
    rest = [word for word in words if word and not word.startswith("-")]
    if rest and _INTERPRETERS.fullmatch(posixpath.basename(rest[0])):
        rest = rest[1:]
    if not rest or not ("/" in rest[0] or "." in rest[0] or rest[0] in _WITH_VERBS):
        return None
    path = posixpath.normpath(posixpath.join(directory, rest[0]))
    for real, link in aliases.items():
        if path.startswith(f"{real}/"):
            path = link + path.removeprefix(real)
    verb = rest[1] if posixpath.basename(path) in _WITH_VERBS and len(rest) > 1 else ""
    return path, _SAME.get(verb, verb)


def text_signatures(line: str, directory: str, aliases: Mapping[str, str]) -> set[Signature]:
    """Return everything that a line for a shell runs, `cd` followed; never fails."""
    found, words = set(), []
    for word in [*_words(line[:_LONGEST]), ";"]:
        if not set(word) <= set(";&|<>()"):
            words.append(word)
            continue
        if "cd" in words[:-1]:
            directory = posixpath.join(directory, words[words.index("cd") + 1])
        found |= _all_signatures(words, directory, aliases)
        words = []
    return found


def _all_signatures(words: list[str], directory: str, aliases: Mapping[str, str]) -> set[Signature]:
    """Return what a command may run: times, a user, options with a value may stand before its script."""
    starts = (signature(words[start:], directory, aliases) for start in range(len(words)))
    return {one for one in starts if one is not None}


def _verbless(one: Signature) -> tuple[bool, bool, Signature]:
    """Order what a unit runs: `artisan queue:work` before the interpreter's path or a file that is an argument."""
    return not one[1], bool(_INTERPRETERS.fullmatch(posixpath.basename(one[0]))), one


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        return list(lexer)
    except ValueError:  # a quote that is not closed
        return re.sub(r"['\"]", "", line).split()


def supervisor_programs(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, command and directory of each program in a file of Supervisor; anything may stand in it."""
    sections = list(_PROGRAM.finditer(text))
    for number, section in enumerate(sections):
        if section[1] != "program":
            continue
        end = sections[number + 1].start() if number + 1 < len(sections) else len(text)
        keys = dict(re.findall(r"(?m)^(command|directory)[ \t]*=[ \t]*(.*)$", text[section.end() : end]))
        yield section[2].strip(), keys.get("command", ""), keys.get("directory", "")


def double_findings(
    project: Project,
    units: tuple[Unit, ...],
    release: str,
    crontabs: Mapping[str, str],
    confs: Mapping[str, str],
) -> tuple[Finding, ...]:
    """Return what else runs the units of a project: among themselves, in other crontabs, in other Supervisor files.

    The texts are anybody's: of them only path, line number and program name are shown.
    """
    aliases = {release: project.current} if release else {}
    ours: dict[Signature, str] = {}
    found: list[Finding] = []
    for unit in units:
        one = min(_all_signatures(list(unit.argv), project.current, aliases), default=None, key=_verbless)
        if one is None:
            continue
        if one in ours and one[1] == "schedule:run":
            found.append(Finding("problem", "double-run", project.name,
                                 f"{ours[one]} and {unit.address} run the same scheduler: every task runs twice",
                                 f"shiftboss remove {unit.address}"))  # fmt: skip
        ours.setdefault(one, unit.address)
    found += _in_crontabs(project, ours, aliases, crontabs)
    found += _in_programs(project, ours, aliases, confs)
    return tuple(found)


def _in_crontabs(
    project: Project, ours: Mapping[Signature, str], aliases: Mapping[str, str], crontabs: Mapping[str, str]
) -> Iterator[Finding]:
    for path, text in sorted(crontabs.items()):
        for number, line in enumerate(text.split("\n"), 1):
            if line.lstrip().startswith("#"):
                continue
            for one in sorted(text_signatures(line, "/", aliases) & ours.keys()):
                yield Finding("problem", "double-run", project.name,
                              f"line {number} of {path} runs what {ours[one]} runs: it happens twice",
                              _edit_crontab(path))  # fmt: skip


def _in_programs(
    project: Project, ours: Mapping[Signature, str], aliases: Mapping[str, str], confs: Mapping[str, str]
) -> Iterator[Finding]:
    for path, text in sorted(confs.items()):
        for name, command, directory in supervisor_programs(text):
            for one in sorted(text_signatures(command, directory or "/", aliases) & ours.keys()):
                yield Finding("problem", "double-run", project.name,
                              f"the program {name[:60]} in {path} runs what {ours[one]} runs: it happens twice",
                              f"vi {shlex.quote(path)} && supervisorctl update")  # fmt: skip


def _edit_crontab(path: str) -> str:
    directory, user = posixpath.split(path)
    if directory.startswith("/var/spool/cron"):
        return f"crontab -e -u {shlex.quote(user)}"
    return f"vi {shlex.quote(path)}"
