"""Why a process ended, or did not start, in plain words. Pure: status, meanings and log lines come in."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from shiftboss.core.cause import likely_cause, port_in
from shiftboss.core.sizes import rough_text, size_text

_SIGNALS = {
    1: "HUP",
    2: "INT",
    3: "QUIT",
    4: "ILL",
    5: "TRAP",
    6: "ABRT",
    7: "BUS",
    8: "FPE",
    9: "KILL",
    10: "USR1",
    11: "SEGV",
    12: "USR2",
    13: "PIPE",
    14: "ALRM",
    15: "TERM",
    24: "XCPU",
    25: "XFSZ",
    31: "SYS",
}
_CRASHES = {
    "ILL": "illegal instruction",
    "ABRT": "aborted itself",
    "BUS": "bad memory access",
    "FPE": "arithmetic error",
    "SEGV": "segmentation fault",
    "XCPU": "CPU time limit reached",
    "XFSZ": "file size limit reached",
    "SYS": "forbidden system call",
    "PIPE": "wrote to a closed pipe",
}
_SHELL_CODES = {126: "permission denied or not a program", 127: "command not found"}
_KILL = 9
_SIGNALLED = 128  # shells report death by signal N as 128 + N (bash(1), EXIT STATUS)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_SAYS_WHY = re.compile(
    r"error|exception|fatal|cannot|could not|can't|failed|failure|denied|refused|not found|no such|"
    r"EADDRINUSE|in use|out of memory|exhausted|panic|unable to",
    re.IGNORECASE,
)
_STACK = re.compile(
    r"\s+at |\s*#\d+ |\s+File \"|\s*thrown in |\s+from .*:\d+:in |goroutine \d+|Node\.js v\d|\s+\w+: .*,$"
)
SHOWN = 200  # characters of a log line that a reason shows
_READ = 2000  # characters of it that are looked at: it may have 64 Ki, and everybody waits meanwhile
_PORT_LINES = (
    20  # a taken port is told before a stack trace or some retries; what is earlier is of another run
)


@dataclass(frozen=True, slots=True)
class Starved:
    """The kernel killed `times` processes of a run because memory ran out.

    The run's own (`own_limit`), else its project's budget or the machine's. Bytes; None: the machine does not tell.
    """

    times: int
    own_limit: bool
    limit_bytes: int | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a main program ended.

    `code`: exit code, or minus the signal's number. `sent`: the last signal that we sent to it ("" none).
    `asked`: somebody asked for its end. `lines`: the end of its log, oldest first.
    `listener`: who has the port that the log calls taken (`port_taken`), "" not known. `starved`: how the kernel ended
    processes of it for want of memory, None if it did not.
    """

    code: int
    sent: str = ""
    asked: bool = False
    core_dumped: bool = False
    lines: Sequence[str] = ()
    listener: str = ""
    starved: Starved | None = None


def exit_reason(ending: Ending, meanings: Mapping[str, str]) -> str:
    """Return one line that says why a process ended.

    `meanings` are the preset's: exit code as text to plain words; `128 + N` stands for signal N, as shells say.
    Where the program ended by itself and the code says no more, the log is asked: the likely cause (`core.cause`)
    and the last error line are added.
    """
    meaning = _meaning(ending, meanings)
    if ending.starved and not ending.asked:
        return _by_hunger(ending, ending.starved, meaning)
    if ending.asked or (ending.code == 0 and not meaning):
        return _by_signal(ending, meaning) if ending.code < 0 else _by_code(ending, meaning, "")
    line, cause = _last_telling(ending.lines), _cause(ending)
    said = _by_signal(ending, meaning) if ending.code < 0 else _by_code(ending, meaning, cause)
    return f"{said}; log: {_cut(line)}" if line else said


def out_of_memory(starved: Starved) -> str:
    """Return the exit reason of a program that the kernel killed because memory ran out."""
    return _by_hunger(Ending(-_KILL), starved, "")


def _by_hunger(ending: Ending, starved: Starved, meaning: str) -> str:
    peak = f", peak {rough_text(starved.peak_bytes)}" if starved.peak_bytes else ""
    if starved.own_limit and starved.limit_bytes:
        whose = f"its limit is {size_text(starved.limit_bytes)}{peak}"
    else:
        whose = f"the budget of its project, or the machine, was used up{peak}"
    if ending.code == -_KILL and ending.sent != "KILL":
        return f"out of memory: killed by the kernel ({whose})"
    said = _by_signal(ending, meaning) if ending.code < 0 else _by_code(ending, meaning, "")
    count = "a process" if starved.times == 1 else f"{starved.times} processes"
    return f"out of memory: the kernel killed {count} of it ({whose}); then: {said}"


def _cause(ending: Ending) -> str:
    port = port_taken(ending.lines)
    if port is not None:
        return f"port {port} is taken{f' by {ending.listener}' if ending.listener else ''}"
    return likely_cause([_last_telling(ending.lines)])  # earlier lines are of earlier trouble


def _by_code(ending: Ending, meaning: str, cause: str) -> str:
    code = ending.code
    if ending.asked:
        return f"stopped (exit {code})" if code else "stopped"
    shell = _SHELL_CODES.get(code, "")
    if _SIGNALLED < code <= _SIGNALLED + max(_SIGNALS):
        shell = f"a program in it ended by SIG{signal_name(code - _SIGNALLED)}"
    said = [f"exit {code}", meaning, cause or ("" if meaning else shell)]
    return ": ".join(part for part in said if part)


def _by_signal(ending: Ending, meaning: str) -> str:
    name = signal_name(-ending.code)
    if ending.sent == name:
        return _by_our_signal(name, asked=ending.asked)
    if meaning:  # what the program means by it; who sent it nobody can tell
        return f"SIG{name}, which shiftboss did not send: {meaning}"
    if name in _CRASHES:
        return f"crashed: {_CRASHES[name]} (SIG{name}{', core dumped' if ending.core_dumped else ''})"
    if name == "KILL":
        return "killed by SIGKILL, which shiftboss did not send (out of memory, or somebody did it)"
    return f"ended by SIG{name}, which shiftboss did not send"


def _by_our_signal(name: str, *, asked: bool) -> str:
    if name != "KILL":
        return f"stopped (SIG{name})" if asked else f"ended by SIG{name}, sent by shiftboss"
    if asked:
        return "killed: it did not end in time after the stop signal"
    return "killed (SIGKILL by shiftboss)"


def _meaning(ending: Ending, meanings: Mapping[str, str]) -> str:
    code = ending.code if ending.code >= 0 else _SIGNALLED - ending.code
    return meanings.get(str(code), "")


def signal_name(number: int) -> str:
    """Return a signal's name without SIG, or its number if it has no common name."""
    return _SIGNALS.get(number, str(number))


def _last_telling(lines: Sequence[str]) -> str:
    """Return the last line that looks like an error, else the last that says anything, cleaned.

    The frames of stack traces are passed over: the line before them says what happened.
    """
    clean = [(line, shown) for line in lines if (shown := _clean(line))]
    telling = [shown for raw, shown in clean if _SAYS_WHY.search(shown) and not _STACK.match(raw)]
    if telling:
        return telling[-1]
    return clean[-1][1] if clean else ""


def clean_line(line: str) -> str:
    """Return a log line without escape sequences and control characters, at most `SHOWN` characters."""
    return _cut(_clean(line))


def _clean(line: str) -> str:
    return _CONTROLS.sub(" ", _ESCAPES.sub("", line[:_READ])).strip()


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def port_taken(lines: Sequence[str]) -> int | None:
    """Return the TCP port that a program found taken, as its last lines say; None if they say nothing of the kind."""
    return port_in([_clean(line) for line in lines[-_PORT_LINES:]])


ENOENT, EACCES, EAGAIN, EMFILE, ENFILE, ENOMEM = 2, 13, 11, 24, 23, 12
_ADVICE = {
    ("command", ENOENT): "command not found",
    ("command", EACCES): "permission denied",
    ("exec", EACCES): "permission denied",
    ("directory", EACCES): "permission denied",
    ("fork", EAGAIN): "its project may have no more tasks, or the user or the machine has too many processes",
    ("fork", ENOMEM): "the machine has no memory left",
    # execve(2): the user was over RLIMIT_NPROC when the child became that user, which alone is no error
    ("exec", EAGAIN): "its user has as many processes as its limit NPROC allows",
    ("exec", ENOMEM): "the machine has no memory left",
    ("pipe", EMFILE): "too many open files",
    ("pipe", ENFILE): "the machine has too many open files",
}


def is_missing(step: str, errno: int) -> bool:
    """Tell whether a failed start means that there is nothing to run yet: no release, or no such command."""
    return step in ("directory", "command") and errno == ENOENT


def spawn_reason(step: str, errno: int, words: str) -> str:
    """Return one line that says why a start failed; `words` are the keeper's."""
    advice = _ADVICE.get((step, errno), "")
    said = clean_line(words) or f"the start failed at step {step}"
    return f"{said} ({advice})" if advice and advice not in said.lower() else said


Outcome = Literal["ran", "failed", "stopped"]


def outcome(code: int, *, asked: bool) -> Outcome:
    """Return the outcome of a run for the history."""
    if asked:
        return "stopped"
    return "ran" if code == 0 else "failed"
