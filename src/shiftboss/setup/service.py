"""`shiftboss service`: the native backend as a systemd service, of the server or of one user.

Each use case reads what is, and returns the steps that are missing; performing them twice does nothing more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from shiftboss.backends.native_manifest import manifest_directory
from shiftboss.core.errors import HostError
from shiftboss.core.managed import read_seal
from shiftboss.core.service_unit import ADDRESS, DIGEST, UNIT, unit_text
from shiftboss.core.spec import Site
from shiftboss.host.engine_account import ACCOUNT
from shiftboss.host.machine import Machine
from shiftboss.setup.keeper_command import keeper_command
from shiftboss.setup.progress import Progress

_MARK = "shiftboss engine (made by shiftboss service install)"  # in the account's comment field
_START_SECONDS = 30.0
_POLL_SECONDS = 0.1
_LONG_SECONDS = 120.0


class Answering(NamedTuple):
    """Who answers on api.sock."""

    keeper_pid: int
    engine_pid: int
    version: str


class Seen(NamedTuple):
    """The service as it is. `active` is systemd's word (active, inactive, failed, …), `text` the unit file's."""

    text: str | None
    active: str
    enabled: bool
    pid: int
    result: str
    answering: Answering | None


class Step(NamedTuple):
    """One thing that is missing: in words, and how it is done. `diff_path`, `before`, `after`: of a file."""

    words: str
    do: Callable[[], None]
    path: str = ""
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True)
class Service:
    """The service of one site. `answering` asks api.sock, None if nobody answers; `python` runs the keeper.

    `digest` is the hash of the keeper's code as it is installed now. Every method raises HostError.
    """

    machine: Machine
    site: Site
    environ: Mapping[str, str]
    progress: Progress
    answering: Callable[[], Answering | None]

    # ---- what is

    @property
    def path(self) -> str:
        """Where the unit file is."""
        if self.site.system:
            return f"/etc/systemd/system/{UNIT}"
        home = self.environ.get("HOME") or self.machine.accounts.own().home
        return f"{self.environ.get('XDG_CONFIG_HOME') or f'{home}/.config'}/systemd/user/{UNIT}"

    def look(self) -> Seen:
        """Return the service as it is."""
        text = self.machine.files.read(self.path)
        names = "ActiveState,UnitFileState,MainPID,Result"
        shown = self.systemctl("show", UNIT, f"--property={names}")
        facts = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        active = facts.get("ActiveState", "inactive")
        answering = self.answering() if active in ("active", "reloading", "inactive", "failed") else None
        enabled = facts.get("UnitFileState") in ("enabled", "enabled-runtime")
        pid = int(facts.get("MainPID") or 0)
        return Seen(text, active, enabled, pid, facts.get("Result", ""), answering)

    def require_systemd(self) -> None:
        """Refuse where there is no systemd to ask, or where it does not speak for us."""
        if self.machine.files.stat("/run/systemd/system") is None:
            raise HostError(
                "cannot set up the service: this machine was not started by systemd",
                hint="Run shiftboss up in its place (in a container: as its command); for another init system, have it"
                f" run and restart this line:\n{self._command_in_words()}",
            )
        if self.site.system or self.machine.files.stat(f"{self._runtime}/systemd") is not None:
            return
        name = self.machine.accounts.own().name
        raise HostError(
            f"cannot set up the service: systemd runs no services for {name} now",
            hint=f"Log in as {name} by ssh or machinectl shell after loginctl enable-linger {name} (as root), or run"
            " the command as root for the whole server, or use shiftboss up.",
        )

    # ---- what is missing

    def installing(self, python: str, digest: str) -> list[Step]:
        """Return the steps to a service that is written, enabled and running."""
        seen = self._checked()
        self._refuse_other_keeper(seen)
        wanted = self._text(python, digest)
        steps = [*self._account_steps(), *self._directory_steps()]
        if seen.text is None:
            steps.append(self._write(wanted, None))
        elif seen.text != wanted:
            self.progress.step(
                "the service file is of another version: shiftboss service upgrade brings it up to date"
            )
        if not seen.enabled:
            steps.append(Step(f"start {UNIT} at boot", lambda: self._do("enable", UNIT)))
        if seen.active not in ("active", "activating", "reloading"):
            steps.append(Step(f"start {UNIT}", self._start))
        return steps

    def upgrading(self, python: str, digest: str) -> list[Step]:
        """Return the steps that let the installed code run: the engine alone where the keeper's code is the same."""
        seen = self._checked()
        if seen.text is None:
            raise HostError(
                "cannot upgrade the service: it is not installed", hint="Run shiftboss service install."
            )
        wanted = self._text(python, digest)
        steps = [] if wanted == seen.text else [self._write(wanted, seen.text)]
        if seen.active != "active":
            self._refuse_other_keeper(seen)
            return [*steps, Step(f"start {UNIT}", self._start)]
        if not steps and seen.answering and self._runs(seen.pid, digest):
            old = seen.answering.engine_pid
            return [Step("restart the engine (no worker restarts)", lambda: self._replace_engine(old))]
        words = f"restart {UNIT}: every worker stops in its own way and starts again"
        return [*steps, Step(words, lambda: self._restart(seen.pid))]

    def removing(self, *, purge: bool = False) -> list[Step]:
        """Return the steps to a server without the service; projects and logs stay, history unless `purge`."""
        seen = self._checked()
        steps = []
        if seen.text is not None:
            if seen.active not in ("inactive", "failed"):
                steps.append(Step(f"stop {UNIT} and every worker, each in its own way", self._stop))
            if seen.enabled:
                steps.append(Step(f"start {UNIT} at boot no longer", lambda: self._do("disable", UNIT)))
            steps.append(Step(f"remove {self.path}", self._remove_unit, self.path, seen.text, None))
        if purge and self.machine.files.stat(f"{self.site.state}/engine") is not None:
            steps.append(Step(f"remove {self.site.state}/engine: history and stored wishes", self._purge))
        if self.site.system and self._made_account():
            steps.append(Step(f"remove the account {ACCOUNT} if it owns nothing", self._remove_account))
        return steps

    def notes(self) -> list[str]:
        """Return what the user should know after an installation."""
        if self.site.system:
            return []
        name = self.machine.accounts.own().name
        shown = self.machine.commands.run(("loginctl", "show-user", name, "--property=Linger", "--value"))
        if shown.stdout.strip() == "yes":
            return []
        return [
            f"It ends when {name} logs out and does not start at boot until this is done once: loginctl enable-linger {name}"
        ]

    # ---- reading

    def _checked(self) -> Seen:
        """Look, and refuse if the unit file is not ours, was edited, or belongs to another installation."""
        self.require_systemd()
        seen = self.look()
        if seen.text is not None:
            found = read_seal(seen.text)
            if found is None or found.address != ADDRESS:
                raise HostError(
                    f"cannot change {self.path}: it was not written by shiftboss", hint="Move it away first."
                )
            if not found.intact:
                raise HostError(
                    f"cannot change {self.path}: it was changed by hand",
                    hint=f"Keep your settings with systemctl edit {UNIT}, remove the file and run"
                    " shiftboss service install again.",
                )
            if (
                f"--state {self.site.state} " not in seen.text
                and f'--state "{self.site.state}" ' not in seen.text
            ):
                raise HostError(
                    f"cannot change {self.path}: it runs another installation of shiftboss",
                    hint=f"See its ExecStart line: name that config.toml with --config, instead of {self.site.config_file}.",
                )
        return seen

    def _runs(self, pid: int, digest: str) -> bool:
        """Tell whether a keeper is of this code, as it was told at its start."""
        shown = self.machine.commands.run(("cat", f"/proc/{pid}/environ"))
        return f"{DIGEST}={digest}" in shown.stdout.split("\0")

    @property
    def _runtime(self) -> str:
        return self.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{self.machine.accounts.own().uid}"

    def _text(self, python: str, digest: str) -> str:
        return unit_text(keeper_command(self.site, python), digest=digest, system=self.site.system)

    def _command_in_words(self) -> str:
        import shlex
        import sys

        return "  " + shlex.join(keeper_command(self.site, sys.executable))

    # ---- doing

    def systemctl(self, *words: str, timeout: float = _LONG_SECONDS) -> str:
        """Ask systemd; return what it printed; raise HostError with its own words."""
        argv: tuple[str, ...] = ("systemctl", *words)
        if not self.site.system:
            argv = ("env", f"XDG_RUNTIME_DIR={self._runtime}", "systemctl", "--user", *words)
        ended = self.machine.commands.run(argv, timeout=timeout)
        if ended.status != 0:
            said = (ended.stderr or ended.stdout).strip().splitlines() or [f"exit status {ended.status}"]
            raise HostError(f"cannot {words[0]} {UNIT}: {said[0]}", hint=f"See: {self._journal()}")
        return ended.stdout

    def _journal(self) -> str:
        return f"journalctl {'' if self.site.system else '--user '}-u {UNIT} -n 20"

    def _do(self, *words: str) -> None:
        self.systemctl(*words)

    def _write(self, text: str, before: str | None) -> Step:
        def write() -> None:
            directory = self.path.rpartition("/")[0]
            own = self.machine.accounts.own()
            self.machine.files.make_directory(directory, own.uid, own.gid, 0o755)
            self.machine.files.commit(self.machine.files.stage(self.path, text, 0o644), self.path)
            self._do("daemon-reload")

        return Step(f"{'write' if before is None else 'change'} {self.path}", write, self.path, before, text)

    def _account_steps(self) -> list[Step]:
        if not self.site.system or self.machine.accounts.by_name(ACCOUNT) is not None:
            return []
        return [Step(f"create the account {ACCOUNT} (no login; the engine runs as it)", self._create_account)]

    def _create_account(self) -> None:
        """Make the account; what an engine without it wrote (as a number that nobody has) becomes the account's."""
        before = self.machine.accounts.engine()
        options = ("--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent")
        login = ("--shell", "/usr/sbin/nologin", "--comment", _MARK)
        self._run_for_account("useradd", *options, *login, "--", ACCOUNT)
        places = [
            path for path in (f"{self.site.state}/engine", self.site.logs) if self.machine.files.stat(path)
        ]
        if places:
            # -execdir: where the file is, whatever a project has made of the path to it meanwhile
            change = ("-uid", str(before.uid), "-execdir", "chown", "--no-dereference", ACCOUNT, "{}", "+")
            self.machine.commands.run(("find", *places, "-xdev", *change), timeout=_LONG_SECONDS)

    def _run_for_account(self, *argv: str) -> None:
        ended = self.machine.commands.run(argv)
        if ended.status != 0:
            raise HostError(
                f"cannot change the account {ACCOUNT}: {ended.stderr.strip()}", hint=f"See {argv[0]}(8)."
            )

    def _directory_steps(self) -> list[Step]:
        own = self.machine.accounts.own()

        def step(path: str) -> Step:
            return Step(
                f"create {path}",
                lambda: self.machine.files.make_directory(path, own.uid, own.gid, 0o755),
                path,
            )

        places = (self.site.state, manifest_directory(self.site))
        return [step(path) for path in places if self.machine.files.stat(path) is None]

    def _refuse_other_keeper(self, seen: Seen) -> None:
        if seen.answering and seen.answering.keeper_pid != seen.pid:
            raise HostError(
                f"cannot start {UNIT}: shiftboss runs already, as process {seen.answering.keeper_pid}",
                hint="End that one first (Ctrl-C where shiftboss up runs), then run this command again.",
            )

    def _start(self) -> None:
        self._do("reset-failed", UNIT)
        self._do("start", "--no-block", UNIT)
        self._wait_for(
            lambda found: bool(found.answering and found.answering.keeper_pid == found.pid), "it answers"
        )

    def _restart(self, old: int) -> None:
        self._do("restart", "--no-block", UNIT)
        self._wait_for(
            lambda found: bool(
                found.pid != old and found.answering and found.answering.keeper_pid == found.pid
            ),
            "every worker has stopped and it answers again",
        )

    def _replace_engine(self, old: int) -> None:
        self.machine.commands.run(("kill", "-TERM", str(old)))
        self._wait_for(
            lambda found: bool(found.answering and found.answering.engine_pid != old),
            "the new engine answers",
        )

    def _stop(self) -> None:
        self._do("stop", "--no-block", UNIT)
        self._wait_for(
            lambda found: found.active in ("inactive", "failed"), "every worker has stopped", stopping=True
        )

    def _wait_for(self, reached: Callable[[Seen], bool], what: str, *, stopping: bool = False) -> None:
        """Poll until it is so. What stops takes its time (each worker has its own); a start has half a minute."""
        clock = self.machine.clock
        end = clock.monotonic() + _START_SECONDS
        while not reached(seen := self.look()):
            if seen.active == "deactivating":
                end = clock.monotonic() + _START_SECONDS
            elif not stopping and (seen.active == "failed" or clock.monotonic() > end):
                raise HostError(f"{UNIT} does not run: {self._last_words()}", hint=f"See: {self._journal()}")
            self.progress.waiting(f"waiting until {what}")
            clock.sleep(_POLL_SECONDS)

    def _last_words(self) -> str:
        argv = (*self._journal().split()[:-1], "1", "-o", "cat")
        return self.machine.commands.run(argv).stdout.strip()[:300] or "it says nothing"

    def _remove_unit(self) -> None:
        self.machine.files.remove(self.path)
        self._do("daemon-reload")
        # what failed before is remembered by name
        self.machine.commands.run(
            ("systemctl", *([] if self.site.system else ["--user"]), "reset-failed", UNIT)
        )

    def _purge(self) -> None:
        for path in (f"{self.site.state}/engine", f"{self.site.state}/instance"):
            self.machine.commands.run(("rm", "-rf", "--one-file-system", "--", path), timeout=_LONG_SECONDS)

    def _made_account(self) -> bool:
        return _MARK in self.machine.commands.run(("getent", "passwd", ACCOUNT)).stdout

    def _remove_account(self) -> None:
        places = [
            p
            for p in (self.site.state, self.site.logs, self.site.run)
            if self.machine.files.stat(p) is not None
        ]
        argv = ("find", *places, "-xdev", "-user", ACCOUNT, "-print", "-quit")
        owned = self.machine.commands.run(argv, timeout=_LONG_SECONDS) if places else None
        if owned and (owned.stdout or owned.status):
            where = owned.stdout.splitlines()[0] if owned.stdout else "files that could not be listed"
            self.progress.step(f"the account {ACCOUNT} stays: it owns {where}")
            return
        self._run_for_account("userdel", "--", ACCOUNT)
