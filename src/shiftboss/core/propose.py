"""What a project needs: which presets fit a release, why, and which one a word such as `queue` means."""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from shiftboss.core.entrypoints import node_words
from shiftboss.core.errors import UserError
from shiftboss.core.lockfiles import named
from shiftboss.core.names import suggest
from shiftboss.core.preset import Condition, Preset
from shiftboss.core.release import Packages, ReleaseFacts, needs_shell
from shiftboss.core.spec import StopScope, UnitKind
from shiftboss.core.words import command_words

SHORT_NAMES = ("queue", "node", "custom")
# what these Procfile lines start is not a background worker: the web server, and a step of the deploy
_NOT_WORKERS = frozenset({"web", "release"})

Presets = Mapping[str, Preset]


class Proposal(Struct, frozen=True):
    """A unit that a project seems to need, and why.

    `command` is set where the project itself says what to run (a line of its Procfile); it then takes
    the place of the preset's command.
    """

    preset_name: str
    unit_name: str
    kind: UnitKind
    reasons: tuple[str, ...]
    verified: bool
    command: str | None = None
    shell: bool = False


def propose(facts: ReleaseFacts, presets: Presets) -> tuple[Proposal, ...]:
    """Return all units that the project needs, in the order of their rank; of two that exclude each other one.

    Nothing is proposed that needs to be asked for (such as schedule:work), and unit names differ.
    """
    fitting = [preset for preset in _by_rank(presets) if fits(preset, facts) is not None]
    excluded = {name for preset in fitting for name in preset.excludes}
    lines = tuple(_procfile_proposals(facts, presets))
    started = {line.preset_name for line in lines}
    own = [
        _proposal(preset, facts)
        for preset in fitting
        if preset.name not in excluded | started and not _is_unproposed(preset, facts)
    ]
    order = {preset.name: preset.rank for preset in presets.values()}
    return tuple(_distinct(sorted([*own, *lines], key=lambda proposal: order[proposal.preset_name])))


def fits(preset: Preset, facts: ReleaseFacts) -> tuple[str, ...] | None:
    """Return the reasons why a project looks as if it needs a preset, None if it does not."""
    met = (holds(condition, facts) for condition in preset.detect)
    return next((reasons for reasons in met if reasons is not None), None)


def holds(condition: Condition, facts: ReleaseFacts) -> tuple[str, ...] | None:
    """Return what makes a condition true, for people; None if it is not true."""
    reasons: list[str] = []
    for part in _parts(condition, facts):
        if part is None:
            return None
        reasons.extend(part)
    return tuple(reasons)


def _parts(condition: Condition, facts: ReleaseFacts) -> Iterator[tuple[str, ...] | None]:
    """Yield the reasons of each part of a condition, None for one that does not hold."""
    yield condition.files if facts.files.issuperset(condition.files) else None
    yield _one_of(condition.any_file, facts.files)
    yield _depends(condition.php, facts.php)
    yield _depends(condition.npm, facts.npm)
    yield _depends(condition.python, facts.python)
    yield _depends(condition.ruby, facts.ruby)
    known = all(name in facts.guesses for name in condition.guesses)
    yield tuple(_guessed(name, facts) for name in condition.guesses) if known else None
    yield () if not any(name in facts.guesses for name in condition.no_guesses) else None
    yield from (_env_is(key, values, facts) for key, values in condition.env.items())
    yield () if not any(facts.env.get(key) in values for key, values in condition.env_not.items()) else None


def _one_of(wanted: Iterable[str], files: frozenset[str]) -> tuple[str, ...] | None:
    candidates = tuple(wanted)
    there = tuple(path for path in candidates if path in files)[:1]
    return there if there or not candidates else None


def _depends(wanted: tuple[str, ...], packages: Packages) -> tuple[str, ...] | None:
    there = tuple(named(packages, name) for name in wanted if name in packages)[:1]
    return there if there or not wanted else None


def _guessed(name: str, facts: ReleaseFacts) -> str:
    guess = facts.guesses[name]
    return f"{guess.value} ({guess.source})"


def _env_is(key: str, values: tuple[str, ...], facts: ReleaseFacts) -> tuple[str, ...] | None:
    value = facts.env.get(key)
    return (f"{key}={value} in .env",) if value in values else None


def cautions(preset: Preset, facts: ReleaseFacts, stop_scope: StopScope | None = None) -> tuple[str, ...]:
    """Return what a user should be told who sets up a preset on this project, maybe with another stop scope."""
    told = [caution.text for caution in preset.cautions if holds(caution.when, facts) is not None]
    if stop_scope not in {None, preset.stop.scope} and preset.stop.scope_warning:
        told.append(preset.stop.scope_warning)
    return tuple(told)


def _is_unproposed(preset: Preset, facts: ReleaseFacts) -> bool:
    return any(c.unproposed and holds(c.when, facts) is not None for c in preset.cautions)


def _by_rank(presets: Presets) -> list[Preset]:
    return sorted(presets.values(), key=lambda preset: (preset.rank, preset.name))


def _proposal(preset: Preset, facts: ReleaseFacts) -> Proposal:
    return Proposal(preset.name, preset.unit, preset.kind, fits(preset, facts) or (), preset.verified)


def _procfile_proposals(facts: ReleaseFacts, presets: Presets) -> Iterator[Proposal]:
    """Propose the worker lines of a Procfile: the preset that knows the program, with the line as its command."""
    for line, command in facts.procfile:
        if line in _NOT_WORKERS:
            continue
        preset = presets[_preset_of(command, facts, presets)]
        reasons = (f"line '{line}' of Procfile",)
        name = _unit_name(line)
        yield Proposal(
            preset.name, name, "worker", reasons, preset.verified, command=command, shell=needs_shell(command)
        )


def _preset_of(command: str, facts: ReleaseFacts, presets: Presets) -> str:
    """Return the preset whose program a line starts, `custom` if none is known."""
    if needs_shell(command):
        return "custom"
    given = command_words(command)
    words = frozenset(given) | {word.rpartition("/")[2] for word in given}
    for preset in _by_rank(presets):
        if preset.procfile_words and words.issuperset(preset.procfile_words):
            return preset.name
        if _starts_guessed_file(preset, command, facts):
            return preset.name
    return "custom"


def _starts_guessed_file(preset: Preset, command: str, facts: ReleaseFacts) -> bool:
    """Tell whether a line is `node FILE` with the very file that the preset would start."""
    simple = node_words(command)
    guesses = {name for condition in preset.detect for name in condition.guesses} & {
        "node_file",
        "node_worker",
    }
    files = {facts.guesses[name].value for name in guesses if name in facts.guesses}
    return simple is not None and simple[0] in files and fits(preset, facts) is not None


def _unit_name(line: str) -> str:
    """Return a legal unit name for a line of a Procfile (it may have capitals and be longer)."""
    return line.lower().strip("-_")[:27] or "worker"


def _distinct(proposals: Iterable[Proposal]) -> Iterator[Proposal]:
    """Give a second unit of one name the name of its preset, and a third a number."""
    taken: set[str] = set()
    for proposal in proposals:
        names = [proposal.unit_name, proposal.preset_name.replace(".", "")]
        names += [f"{proposal.unit_name[:24]}-{number}" for number in range(2, 99)]
        name = next(name for name in names if name not in taken)
        taken.add(name)
        yield replace(proposal, unit_name=name)


def resolve_kind(word: str, facts: ReleaseFacts, presets: Presets) -> Preset:
    """Return the preset that a word of the command line means for a project.

    `queue` and `node` pick the one that fits; otherwise it is the name of a preset, an alias of it or its last
    part (`horizon`). Raises UserError: unknown word; nothing fits; a queue that Horizon runs; a preset
    whose files the release does not have. Where a simpler preset does the same (`npm start` that is just
    `node server.js`), that one is returned.
    """
    if word in {"queue", "node"}:
        return _fitting_of_group(word, facts, presets)
    preset = presets.get(word) or _by_short_name(word, presets)
    if preset is None:
        raise UserError(
            f"unknown kind {word[:40]!r}{suggest(word, (*SHORT_NAMES, *presets))}",
            hint=f"Use {', '.join(SHORT_NAMES)} or a preset: {', '.join(sorted(presets))}.",
        )
    simpler = presets.get(preset.simpler)
    if simpler is not None and fits(preset, facts) is None and fits(simpler, facts) is not None:
        return simpler
    _require_files(preset, facts)
    return preset


def _by_short_name(word: str, presets: Presets) -> Preset | None:
    named_so = [preset for preset in presets.values() if word in preset.aliases]
    ending_so = [preset for preset in presets.values() if preset.name.endswith(f"-{word}")]
    candidates = named_so or ending_so
    return candidates[0] if len(candidates) == 1 else None


def _require_files(preset: Preset, facts: ReleaseFacts) -> None:
    """Refuse a preset that cannot work: all its conditions name files, and none of the sets of files is there."""
    missing = [[path for path in condition.files if path not in facts.files] for condition in preset.detect]
    if not missing or not all(missing):
        return
    raise UserError(
        f"{preset.name} needs {missing[0][0]}, and the release does not have it",
        hint="Check that `current` leads to the right release, or set up any other program with custom.",
    )


def _fitting_of_group(group: str, facts: ReleaseFacts, presets: Presets) -> Preset:
    members = [preset for preset in _by_rank(presets) if preset.group == group]
    fitting = [preset for preset in members if fits(preset, facts) is not None]
    if not fitting:
        raise UserError(_nothing_fits(group), hint=_looked_for(group, members, facts))
    for preset in fitting:
        instead = _excluding(preset, facts, presets)
        if instead is None:
            return preset
        if instead.group != group:
            raise _excluded(preset, instead, facts)
    return fitting[0]


def _excluding(preset: Preset, facts: ReleaseFacts, presets: Presets) -> Preset | None:
    others = (other for other in _by_rank(presets) if preset.name in other.excludes)
    return next((other for other in others if fits(other, facts) is not None), None)


def _excluded(preset: Preset, instead: Preset, facts: ReleaseFacts) -> UserError:
    short = min((instead.name, *instead.aliases), key=len)
    why = " and ".join(fits(instead, facts) or ())
    return UserError(
        f"this project runs {instead.name} ({why}), which starts its own workers: {preset.name} beside it would "
        "compete for the same jobs",
        hint=f"Use '{short}' instead of '{preset.group}'; or name {preset.name} itself if you want both.",
    )


def _nothing_fits(group: str) -> str:
    what = "queue of background jobs" if group == "queue" else "Node program"
    return f"cannot find a {what} in this project"


def _looked_for(group: str, members: Iterable[Preset], facts: ReleaseFacts) -> str:
    signs = dict.fromkeys(sign for preset in members for sign in _signs(preset))
    notes = f" Note: {'; '.join(facts.notes)}." if facts.notes else ""
    example = "php artisan thumbs:work" if group == "queue" else "node path/to/server.js"
    return f"Looked for: {', '.join(signs)}.{notes} Name the command instead: custom -- {example}"


def _signs(preset: Preset) -> Iterator[str]:
    """Yield what a preset is recognised by, without what it shares with others."""
    for condition in preset.detect:
        packages = (*condition.php, *condition.npm, *condition.python, *condition.ruby)
        yield from packages[:1] or condition.any_file[:3] or condition.files
        if not packages:
            yield from (_SPOKEN_GUESSES[name] for name in condition.guesses if name in _SPOKEN_GUESSES)


_SPOKEN_GUESSES = {
    "node_file": "scripts.start and main in package.json, server.js, app.js, dist/index.js",
    "npm_start": "scripts.start in package.json",
}
