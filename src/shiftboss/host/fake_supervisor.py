"""A Supervisor in memory: it reads program files from the files in memory and runs scripts instead of programs.

Its refusals and its habits are those of supervisord 4 as far as the `Supervisor` port shows them; the suite
`tests/contract/test_supervisor_port.py` runs over both. It does not retry: a script says in which state its program ends.
"""

import math
from configparser import Error as ConfigParserError
from configparser import RawConfigParser
from dataclasses import dataclass, field
from typing import Literal

from shiftboss.core.errors import HostError
from shiftboss.core.facts import ProcessFacts, SupervisorFacts
from shiftboss.core.spec import SupervisorSite
from shiftboss.host.fake_faults import Faults
from shiftboss.host.fake_files import FakeFiles
from shiftboss.host.ports import Clock

VERSION = "4.2.5"
Options = dict[str, str]


@dataclass(frozen=True, slots=True)
class Script:
    """What a program does when it is started: it prints `output`, and with `ends` it is over after a while.

    A stop takes it `stop_seconds` (at most its stop wait, then it is killed; `math.inf` with `unkillable`
    for one that hangs in the kernel).
    """

    ends: Literal["", "BACKOFF", "FATAL", "EXITED"] = ""
    after_seconds: float = 0.0
    exit_status: int = 0
    spawn_error: str = ""
    output: str = ""
    stop_seconds: float = 0.0
    unkillable: bool = False


@dataclass
class _Process:
    """One process of a group; times are monotonic seconds, `started` and `stopped` also as labels."""

    name: str
    options: Options
    script: Script
    state: str = "STOPPED"
    pid: int = 0
    since: float = 0.0
    started: int = 0
    stopped: int = 0
    exit_status: int = 0
    spawn_error: str = ""
    directory: str = ""

    def advance(self, now: float, label: int) -> None:
        """Go on to the state that the time has brought."""
        if self.state in {"STARTING", "RUNNING"}:
            self._run(now - self.since, label)
        elif self.state == "STOPPING" and now - self.since >= self._stop_seconds():
            self._end("STOPPED", label)

    def _run(self, age: float, label: int) -> None:
        if self.script.ends and age >= self.script.after_seconds:
            self.exit_status, self.spawn_error = self.script.exit_status, self.script.spawn_error
            self._end(self.script.ends, label)
        elif age >= int(self.options.get("startsecs", "1")):
            self.state = "RUNNING"

    def _end(self, state: str, label: int) -> None:
        self.state, self.pid, self.stopped = state, 0, label

    def _stop_seconds(self) -> float:
        if self.script.unkillable:
            return math.inf
        return min(self.script.stop_seconds, int(self.options.get("stopwaitsecs", "10")))


@dataclass
class _Group:
    options: Options
    processes: dict[str, _Process] = field(default_factory=dict)


class FakeSupervisord:
    """The `Supervisor` port in memory. `scripts` are by group (`myapp_queue`) or process (`myapp_queue:myapp_queue_01`).

    `down` says that nobody answers; `reads_our_files` that its [include] names the directory.
    """

    def __init__(self, conf_dir: str, files: FakeFiles, clock: Clock, faults: Faults) -> None:
        self.conf_dir = conf_dir
        self.uid = 0
        self.down = False
        self.reads_our_files = True
        self.scripts: dict[str, Script] = {}
        self._files, self._clock, self._faults = files, clock, faults
        self._read: dict[str, Options] = {}
        self._groups: dict[str, _Group] = {}
        self._next_pid = 1000

    def states(self) -> dict[str, str]:
        """Return the state of every process by `group:process`."""
        self._advance()
        return {
            f"{name}:{process.name}": process.state
            for name, group in self._groups.items()
            for process in group.processes.values()
        }

    def pids(self) -> dict[str, int]:
        """Return the pid of every living process by `group:process`."""
        self._advance()
        return {
            f"{name}:{process.name}": process.pid
            for name, group in self._groups.items()
            for process in group.processes.values()
            if process.pid
        }

    def living(self) -> dict[int, str]:
        """Return the working directory of every living process by pid, links resolved when it started."""
        self._advance()
        return {
            process.pid: process.directory
            for group in self._groups.values()
            for process in group.processes.values()
            if process.pid
        }

    def script(self, group: str, script: Script) -> None:
        """Let the programs of a group go by another script, the living ones too."""
        self.scripts[group] = script
        for process in self._groups[group].processes.values():
            process.script = script

    def end(self, name: str, state: str = "EXITED", exit_status: int = 0) -> None:
        """Let the living process `group:process` end by itself, now."""
        process = self._process(name)
        process.exit_status = exit_status
        process.state, process.pid, process.stopped = state, 0, self._label()

    # The port.

    def facts(self) -> SupervisorFacts:
        self._called("facts")
        told = [
            _told(name, process, self._label())
            for name, group in self._groups.items()
            for process in group.processes.values()
        ]
        return SupervisorFacts(VERSION, self.uid, tuple(sorted(told, key=lambda p: (p.group, p.name))))

    def reread(self) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        self._called("reread")
        self._read = self._programs()
        new, old = self._read.keys(), self._groups.keys()
        changed = {name for name in new & old if self._read[name] != self._groups[name].options}
        return frozenset(new - old), frozenset(changed), frozenset(old - new)

    def add_group(self, group: str) -> None:
        self._called("add_group", group)
        if group in self._groups:
            return
        if group not in self._read:
            raise _unknown(group)
        options = self._read[group]
        self._groups[group] = _Group(options, {n: self._made(group, n) for n in _names(group, options)})
        for process in self._groups[group].processes.values():
            if options.get("autostart", "true") == "true":
                self._start(process)

    def remove_group(self, group: str) -> None:
        self._called("remove_group", group)
        if group not in self._groups:
            return
        if any(process.pid for process in self._groups[group].processes.values()):
            raise HostError(
                f"cannot remove {group} from Supervisor: some of its processes still run",
                hint="Wait until they have stopped, then run the command again.",
            )
        del self._groups[group]

    def stop_group(self, group: str) -> None:
        self._called("stop_group", group)
        if group not in self._groups:
            raise _unknown(group)
        for process in self._groups[group].processes.values():
            self._stop(process)

    def start_process(self, name: str) -> None:
        self._called("start_process", name)
        process = self._process(name)
        if process.state == "STOPPING":
            raise HostError(
                f"cannot start {name}: it is still stopping",
                hint="Wait until it has stopped (shiftboss status), then run the command again.",
            )
        if process.state not in {"STARTING", "RUNNING", "BACKOFF"}:
            self._start(process)

    def stop_process(self, name: str) -> None:
        self._called("stop_process", name)
        self._stop(self._process(name))

    # How it goes on.

    def _called(self, call: str, subject: str = "") -> None:
        self._faults.reach(f"supervisor.{call}", subject)
        if self.down:
            raise HostError(
                "cannot talk to Supervisor, it is not running: there is no socket",
                hint="Start it: systemctl start supervisor (without systemd: service supervisor start).",
            )
        self._advance()

    def _advance(self) -> None:
        for group in self._groups.values():
            for process in group.processes.values():
                process.advance(self._clock.monotonic(), self._label())

    def _label(self) -> int:
        return int(self._clock.now().timestamp())

    def _process(self, name: str) -> _Process:
        group, _, process = name.partition(":")
        found = self._groups.get(group)
        if found is None or process not in found.processes:
            raise _unknown(name)
        return found.processes[process]

    def _made(self, group: str, name: str) -> _Process:
        script = self.scripts.get(f"{group}:{name}", self.scripts.get(group, Script()))
        return _Process(name, self._read[group], script)

    def _start(self, process: _Process) -> None:
        self._next_pid += 1
        process.state, process.pid, process.since = "STARTING", self._next_pid, self._clock.monotonic()
        process.started, process.spawn_error = self._label(), ""
        directory = process.options.get("directory", "/")
        process.directory = self._files.real_path(directory) or directory
        if process.script.output and "stdout_logfile" in process.options:
            self._files.append(process.options["stdout_logfile"], process.script.output.encode())
        process.advance(self._clock.monotonic(), self._label())

    def _stop(self, process: _Process) -> None:
        if process.state in {"STARTING", "RUNNING"}:
            process.state, process.since = "STOPPING", self._clock.monotonic()
        elif process.state == "BACKOFF":
            process.state = "STOPPED"
        process.advance(self._clock.monotonic(), self._label())

    def _programs(self) -> dict[str, Options]:
        if not self.reads_our_files:
            return {}
        found: dict[str, Options] = {}
        for path, text in self._files.read_matching(self.conf_dir, "*.conf").items():
            found |= _programs_in(path, text)
        return found


def _programs_in(path: str, text: str) -> dict[str, Options]:
    parser = RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
    try:
        parser.read_string(text)
        programs = {s.partition(":")[2]: s for s in parser.sections() if s.startswith("program:")}
        return {name: _expanded(name, dict(parser.items(s))) for name, s in programs.items()}
    except (ConfigParserError, KeyError, ValueError, TypeError) as error:
        raise HostError(
            f"cannot let Supervisor read its files again: {path}: {type(error).__name__}",
            hint="Correct the file that it names; until then Supervisor runs on with what it had.",
        ) from error


def _expanded(name: str, raw: Options) -> Options:
    known = {"program_name": name, "group_name": name, "here": "/", "host_node_name": "host"}
    options = {
        option: value if option == "process_name" else value % {**known, "process_num": 0}
        for option, value in raw.items()
    }
    if not options.get("command"):
        raise ValueError("no command")
    for number in ("numprocs", "startsecs", "stopwaitsecs"):
        int(options.get(number, "1"))
    return options


def _names(group: str, options: Options) -> list[str]:
    pattern = options.get("process_name", "%(program_name)s")
    known = {"program_name": group, "group_name": group}
    return [pattern % {**known, "process_num": n} for n in range(int(options.get("numprocs", "1")))]


def _told(group: str, process: _Process, now: int) -> ProcessFacts:
    return ProcessFacts(
        group=group,
        name=process.name,
        state=process.state,
        pid=process.pid,
        started=process.started,
        stopped=process.stopped,
        now=now,
        exit_status=process.exit_status,
        spawn_error=process.spawn_error,
    )


def _unknown(name: str) -> HostError:
    return HostError(
        f"cannot find {name} in Supervisor",
        hint="Run shiftboss apply; if that does not help, see whether supervisord.conf includes our files.",
    )


class FakeSupervisors:
    """The `Supervisors` port: one Supervisor, or none if `installed` is false."""

    def __init__(self, supervisord: FakeSupervisord, files: FakeFiles, faults: Faults) -> None:
        self.installed = True
        self._supervisord, self._files, self._faults = supervisord, files, faults

    def locate(self, site: SupervisorSite) -> SupervisorSite:
        self._faults.reach("supervisors.locate")
        if not self.installed:
            raise HostError(
                "cannot find Supervisor: there is no /etc/supervisor/supervisord.conf",
                hint="Install it: apt-get install supervisor.",
            )
        conf_dir = site.conf_dir or self._supervisord.conf_dir
        facts = self._files.stat(conf_dir)
        if facts is None or facts.type != "directory":
            raise HostError(
                f"cannot use {conf_dir} for Supervisor's programs: there is no such directory",
                hint=f"Create it (mkdir -p {conf_dir}), or correct [supervisor] conf_dir in config.toml.",
            )
        server = site.server or "unix:///var/run/supervisor.sock"
        return SupervisorSite(site.conf_file, conf_dir, server, site.username, site.password)

    def connect(self, site: SupervisorSite) -> FakeSupervisord:
        return self._supervisord
