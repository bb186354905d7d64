"""One file of ours with a seal: what to do about it, from its present text and the text it should have.

Ours and untouched: written or removed. Changed by hand: a conflict that `--force` overrides. Not ours: a
conflict that `--adopt` overrides, keeping a copy.
"""

from msgspec import Struct

from shiftboss.backends.contract import Wanted
from shiftboss.core.facts import Answers, PathFacts, Query, ReadFile, StatPath
from shiftboss.core.managed import read_seal
from shiftboss.core.plan import Conflict, Override, Plan, RemoveFile, WriteFile

_ROOT = 0


class SealedFile(Struct, frozen=True):
    """A file of ours: where it is, whose it is (project or unit address), its text (None: no such file), its mode."""

    path: str
    address: str
    wanted: str | None
    mode: int = 0o644


def sealed_file_queries(path: str) -> tuple[Query, ...]:
    """Name what `plan_sealed_file` must know."""
    return (ReadFile(path), StatPath(path))


def plan_sealed_file(file: SealedFile, wanted: Wanted, answers: Answers, override: Override) -> Plan:
    """Plan one sealed file. A foreign file that we want nothing in is left alone without a word."""
    before = answers[ReadFile(file.path)]
    facts = answers[StatPath(file.path)]
    assert before is None or isinstance(before, str)
    assert facts is None or isinstance(facts, PathFacts)
    if facts is not None and facts.type != "file":
        return _in_the_way(file, facts)
    if before is None:
        return _write(file, None) if file.wanted is not None else Plan()
    found = read_seal(before)
    if found is None or found.address != file.address:
        return _foreign(file, before, wanted, override)
    if not found.intact and not override.force:
        return _edited(file)
    if before == file.wanted:
        return _keep(file, before, facts, wanted)
    return _write(file, before)


def _keep(file: SealedFile, before: str, facts: PathFacts | None, wanted: Wanted) -> Plan:
    """Leave the file alone, unless it is not ours or open to others: daemons of root pass over such files."""
    owner = _ROOT if wanted.site.system else wanted.project.account.uid
    if facts is None or (facts.uid == owner and not facts.mode & ~file.mode):
        return Plan()
    note = f"{file.path} has owner uid {facts.uid} and mode {facts.mode:04o}: it becomes {owner} and {file.mode:04o} again"
    return Plan(actions=(WriteFile(file.address, file.path, before, before, file.mode),), notes=(note,))


def _write(file: SealedFile, before: str | None, keep_copy: str = "") -> Plan:
    if file.wanted is None:
        assert before is not None
        return Plan(actions=(RemoveFile(file.address, file.path, before),))
    action = WriteFile(file.address, file.path, file.wanted, before, file.mode, keep_copy=keep_copy)
    return Plan(actions=(action,))


def _foreign(file: SealedFile, before: str, wanted: Wanted, override: Override) -> Plan:
    if file.wanted is None:
        return Plan()
    if override.adopt:
        return _write(file, before, keep_copy=f"{wanted.site.state}/adopted/{_name(file.path)}")
    return Plan(
        conflicts=(
            Conflict(
                file.address,
                file.path,
                f"{file.path} exists and was not written by shiftboss for {file.address}",
                "Remove it, or take it over with --adopt (a copy is kept).",
                "--adopt",
            ),
        )
    )


def _edited(file: SealedFile) -> Plan:
    reason = f"{file.path} was changed by hand since shiftboss wrote it"
    hint = "Put the change into the project file, then overwrite the hand edit with --force."
    return Plan(conflicts=(Conflict(file.address, file.path, reason, hint, "--force"),))


def _in_the_way(file: SealedFile, facts: PathFacts) -> Plan:
    if file.wanted is None:
        return Plan()
    reason = f"{file.path} is not a regular file but a {facts.type}"
    hint = f"Look at it (ls -ld {file.path}) and move it away."
    return Plan(conflicts=(Conflict(file.address, file.path, reason, hint),))


def _name(path: str) -> str:
    return path.rpartition("/")[2]
