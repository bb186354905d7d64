"""The `Supervisor` port: a running supervisord by XML-RPC, its refusals as errors that say what mends them."""

import os
import re
from typing import Any

from shiftboss.core.errors import HostError
from shiftboss.core.facts import ProcessFacts, SupervisorFacts
from shiftboss.core.spec import SupervisorSite
from shiftboss.host.supervisord_site import check_server, locate

__all__ = ["Supervisord", "locate"]

TIMEOUT_SECONDS = 30.0
_API_VERSION = "3.0"
_OLDEST = 4
_UNKNOWN_METHOD, _SHUTDOWN, _BAD_NAME, _NO_FILE, _NOT_EXECUTABLE = 1, 6, 10, 20, 21
_SPAWN_ERROR, _ALREADY_STARTED, _NOT_RUNNING, _ALREADY_ADDED, _STILL_RUNNING = 50, 60, 70, 90, 91
_CANT_REREAD = 92
_UNAUTHORIZED = 401
_SHOWN = 300
# What Supervisor quotes of a file it cannot read may be somebody's secret: the place is told, not the text.
_QUOTED = (
    (re.compile(r"Format string .* for '", re.DOTALL), "the text of '"),
    (re.compile(r"\.? Available names:.*?(?=\s+in section|$)", re.DOTALL), ""),
    (re.compile(r" in value '.*'(?=\s+in section|$)", re.DOTALL), " in environment"),
    (re.compile(r"(\[line\s+\d+\]):[^\n]*"), r"\1"),
    (re.compile(r"(, line: \d+)\n.*", re.DOTALL), r"\1"),
)


class Supervisord:
    """A supervisord at a located site. Nothing is sent before the first call; every call connects anew."""

    def __init__(self, site: SupervisorSite, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        check_server(site.server)
        self._site = site
        self._timeout = timeout_seconds
        self._version = ""

    def facts(self) -> SupervisorFacts:
        """Return version, uid and all processes, sorted by group and name."""
        pid, processes = self._call("getPID"), self._call("getAllProcessInfo")
        ordered = sorted((_process(told) for told in processes), key=lambda p: (p.group, p.name))
        return SupervisorFacts(self._version, _uid_of(int(pid)), tuple(ordered), int(pid))

    def reread(self) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        """Let it read its files again; return names of groups (added, changed, removed). Nothing is applied."""
        [[added, changed, removed]] = self._call("reloadConfig")
        return frozenset(added), frozenset(changed), frozenset(removed)

    def add_group(self, group: str) -> None:
        """Take over a group from the files as they were last re-read; one that runs already is no error."""
        self._call("addProcessGroup", group, unless=_ALREADY_ADDED)

    def remove_group(self, group: str) -> None:
        """Forget a group whose processes are all stopped; one that it does not have is no error."""
        self._call("removeProcessGroup", group, unless=_BAD_NAME)

    def stop_group(self, group: str) -> None:
        """Ask every process of a group to stop; does not wait."""
        self._call("stopProcessGroup", group, False)

    def start_process(self, name: str) -> None:
        """Start `group:process`; does not wait. One that runs already is no error, one that still stops is."""
        self._call("startProcess", name, False, unless=_ALREADY_STARTED)
        if self._call("getProcessInfo", name)["statename"] == "STOPPING":  # Supervisor drops such a request
            raise HostError(
                f"cannot start {name}: it is still stopping",
                hint="Wait until it has stopped (shiftboss status), then run the command again.",
            )

    def stop_process(self, name: str) -> None:
        """Ask `group:process` to stop; does not wait. One that is stopped already is no error."""
        self._call("stopProcess", name, False, unless=_NOT_RUNNING)

    def _call(self, method: str, *arguments: object, unless: int = 0) -> Any:
        """Call `supervisor.METHOD`; the fault `unless` is no error (None is returned)."""
        self._require_supported()
        return self._send(method, arguments, unless)

    def _require_supported(self) -> None:
        if self._version:
            return
        api, version = str(self._send("getAPIVersion")), str(self._send("getSupervisorVersion"))
        major = version.partition(".")[0]
        if api != _API_VERSION or not major.isdigit() or int(major) < _OLDEST:
            raise HostError(
                f"cannot work with Supervisor {version} (API {api}): version {_OLDEST} is needed",
                hint="Upgrade it: apt-get install supervisor (Debian 11 and later have version 4).",
            )
        self._version = version

    def _send(self, method: str, arguments: tuple[object, ...] = (), unless: int = 0) -> Any:
        import http.client
        import xmlrpc.client
        from xml.parsers.expat import ExpatError

        from shiftboss.host.supervisord_transport import server_proxy

        site = self._site
        try:
            with server_proxy(site.server, site.username, site.password, self._timeout) as server:
                return getattr(server, f"supervisor.{method}")(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == unless:
                return None
            raise self._refused(method, arguments, fault.faultCode, fault.faultString) from fault
        except xmlrpc.client.ProtocolError as error:
            raise self._wrong_answer(method, error.errcode) from error
        except (http.client.HTTPException, xmlrpc.client.Error, ExpatError) as error:
            raise self._wrong_answer(method, 0) from error
        except OSError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: OSError) -> HostError:
        server = self._site.server
        if isinstance(error, FileNotFoundError | ConnectionError):
            missing = isinstance(error, FileNotFoundError)
            why = f"there is no socket {_shown(server)}" if missing else f"nobody answers at {_shown(server)}"
            return HostError(f"cannot talk to Supervisor, it is not running: {why}", hint=_start_hint())
        if isinstance(error, PermissionError):
            return HostError(
                f"cannot talk to Supervisor: permission denied on {_shown(server)}",
                hint="Run the command as root (sudo).",
            )
        if isinstance(error, TimeoutError):
            return HostError(
                f"cannot talk to Supervisor: no answer from {_shown(server)} within {self._timeout:g} s",
                hint="See whether supervisord is overloaded or stopped (top, ps), then run the command again.",
            )
        return HostError(
            f"cannot talk to Supervisor at {_shown(server)}: {(error.strerror or str(error)).lower()}",
            hint="Correct [supervisor] server in config.toml.",
        )

    def _wrong_answer(self, method: str, status: int) -> HostError:
        if status == _UNAUTHORIZED:
            return HostError(
                "cannot log in to Supervisor: wrong user name or password",
                hint="Set username and password under [supervisor] in config.toml to those in supervisord.conf.",
            )
        why = f"HTTP status {status}" if status else "the answer is not XML-RPC"
        return HostError(
            f"cannot use Supervisor at {_shown(self._site.server)}: {why} to {method}",
            hint="See its own log (/var/log/supervisor/supervisord.log); is it really supervisord that listens there?",
        )

    def _refused(self, method: str, arguments: tuple[object, ...], code: int, text: str) -> HostError:
        name = str(arguments[0]) if arguments else ""
        refusals = {
            _UNKNOWN_METHOD: (
                "cannot use Supervisor: its supervisord.conf has no [rpcinterface:supervisor]",
                "Add that section with supervisor.rpcinterface_factory = "
                "supervisor.rpcinterface:make_main_rpcinterface, then restart Supervisor.",
            ),
            _SHUTDOWN: (
                "cannot use Supervisor: it is shutting down or restarting",
                "Wait until it runs again (systemctl status supervisor), then run the command again.",
            ),
            _BAD_NAME: (
                f"cannot find {name} in Supervisor",
                "Run shiftboss apply; if that does not help, see whether supervisord.conf includes our files.",
            ),
            _STILL_RUNNING: (
                f"cannot remove {name} from Supervisor: some of its processes still run",
                "Wait until they have stopped, then run the command again.",
            ),
            _CANT_REREAD: (
                f"cannot let Supervisor read its files again: {_without_secrets(text)}",
                "Correct the file that it names; until then Supervisor runs on with what it had.",
            ),
        }
        message, hint = refusals.get(
            code, (f"cannot {_spoken(method)} {name}: {_detail(text)}", _hint_of_start(code))
        )
        return HostError(message, hint=hint)


def _process(told: dict[str, Any]) -> ProcessFacts:
    """Return one struct of getAllProcessInfo as facts."""
    return ProcessFacts(
        group=str(told["group"]),
        name=str(told["name"]),
        state=str(told["statename"]),
        pid=int(told["pid"]),
        started=int(told["start"]),
        stopped=int(told["stop"]),
        now=int(told["now"]),
        exit_status=int(told["exitstatus"]),
        spawn_error=str(told["spawnerr"]),
    )


def _uid_of(pid: int) -> int:
    """Return the effective uid of a process (proc(5), status), our own if it cannot be seen.

    The owner of /proc/PID would not do: it is root for every process that gave up root.
    """
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            uids = next(line for line in status if line.startswith("Uid:"))
    except (OSError, StopIteration):
        return os.geteuid()
    return int(uids.split()[2])


def _shown(server: str) -> str:
    return server.removeprefix("unix://")


def _start_hint() -> str:
    import shutil

    if shutil.which("supervisord") is None:
        return "Install it: apt-get install supervisor"
    return "Start it: systemctl start supervisor (without systemd: service supervisor start)."


def _spoken(method: str) -> str:
    return {"startProcess": "start", "stopProcess": "stop", "stopProcessGroup": "stop"}.get(
        method, f"call {method} for"
    )


def _hint_of_start(code: int) -> str:
    if code in {_NO_FILE, _NOT_EXECUTABLE, _SPAWN_ERROR}:
        return "See that the program is there and may be executed, then run the command again."
    return "See Supervisor's own log (/var/log/supervisor/supervisord.log)."


def _detail(text: str) -> str:
    return _one_line(text.partition(": ")[2] or text)


def _without_secrets(text: str) -> str:
    reason = text.removeprefix("CANT_REREAD: ")
    for pattern, instead in _QUOTED:
        reason = pattern.sub(instead, reason)
    return _one_line(reason)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_SHOWN]
