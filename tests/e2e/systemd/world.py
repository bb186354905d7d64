"""A machine with shiftboss and two projects in it, as the tests of the service want it."""

import json
from pathlib import Path
from typing import Any

from tests.e2e.systemd.bed import HERE, Answer, Bed
from tests.e2e.systemd.clock_scenes import ZONE
from tests.waiting import wait_until

PACKAGES = "/usr/local/lib/python3.11/dist-packages"
PROGRAM = "#!/usr/bin/python3 -I\nfrom shiftboss.cli.main import main\n\nmain()\n"
PROGRAMS = "/usr/local/lib/shiftboss-tests"  # those of programs/
UNIT = "/etc/systemd/system/shiftboss.service"
WORKER = "test-worker-"  # and its project: the name of each main process
PROJECTS = ("alice", "bob")
# finishes what it has in hand, and has a child that outlives a signal to the parent alone
SCRIPT = 'trap "exit 0" TERM; sleep 86399 & while :; do echo tick; sleep 1; done'


class World:
    """A machine with two projects on the native backend."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed

    def furnish(self, packages: Path) -> None:
        """Bring shiftboss, two users and their projects."""
        self.bed.push(packages, PACKAGES)
        self.bed.push(HERE / "programs", PROGRAMS)
        self.bed.ok("ln", "-sf", f"/usr/share/zoneinfo/{ZONE}", "/etc/localtime")
        self.bed.write("/usr/local/bin/shiftboss", PROGRAM, "0755")
        self.bed.write("/etc/shiftboss/config.toml", '[backend]\nworkers = "native"\n')
        for name in PROJECTS:
            command = json.dumps(["/bin/sh", "-c", SCRIPT, f"{WORKER}{name}"])
            self.add_project(
                name,
                f'[project]\nuser = "{name}_user"\n\n[workers.tick]\ncommand = {command}\nprocesses = 2\nstart_seconds = 1\n',
            )

    def add_project(self, name: str, text: str = "") -> None:
        """Make a project with its user, who need not be new, and write its file, if it has a text."""
        user, root = f"{name}_user", f"/infra/projects/{name}"
        if self.bed.run("id", user).status:
            self.bed.ok("useradd", "--no-create-home", "--home-dir", root, user)
            self.bed.ok("mkdir", "-p", f"{root}/releases/1")
            self.bed.ok("ln", "-s", "releases/1", f"{root}/current")
        if text:
            self.bed.write(f"/etc/shiftboss/projects/{name}.toml", text)

    def run(self, *arguments: str, timeout: float = 100) -> Answer:
        return self.bed.run("shiftboss", *arguments, timeout=timeout)

    def ok(self, *arguments: str) -> str:
        answer = self.run(*arguments)
        assert answer.status == 0, answer
        return answer.output

    def installed(self) -> dict[str, Any]:
        """Have the service installed and every worker running; return what the service says of itself."""
        self.ok("service", "install", "--json")
        self.run("apply")
        self.until_all_run()
        return self.service()

    def service(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("service", "status", "--json").output)["service"]
        return found

    def pids(self, target: str) -> list[int | None]:
        """Return the pid of each process of a worker, as `status` tells it."""
        status = json.loads(self.run("status", target, "--json").output)
        return [process["pid"] for process in status["projects"][0]["workers"][0]["processes"]]

    def workers(self) -> dict[int, str]:
        """Return pid and user of every main process of a worker."""
        # the sleeping child has the same command line for a moment after fork: its parent is a worker
        rows = self.bed.run("ps", "-eo", "pid=,ppid=,user:32=,args=").output.splitlines()
        found = {int(r.split()[0]): r.split() for r in rows if WORKER in r and "ps -eo" not in r}
        return {pid: row[2] for pid, row in found.items() if int(row[1]) not in found}

    def leftovers(self) -> list[str]:
        """Return every process that a worker, an engine or a keeper is, or that one of them started."""
        rows = self.bed.ok("ps", "-eo", "pid=,args=").splitlines()
        return [row for row in rows if WORKER in row or "sleep 86399" in row or "-m shiftboss." in row]

    def until_all_run(self) -> dict[int, str]:
        """Wait until each worker has exactly its processes, and nothing changes any more."""

        def all_run() -> dict[int, str] | None:
            status = json.loads(self.run("status", "--json").output or "{}")
            processes = [p for q in status.get("projects", []) for w in q["workers"] for p in w["processes"]]
            states = [process["state"] for process in processes]
            workers = self.workers()
            pids = {process["pid"] for process in processes}
            return workers if states == ["RUNNING"] * 4 and pids == workers.keys() else None

        found = wait_until(all_run, 60, what="four workers that run", interval=0.3)
        assert sorted(found.values()) == ["alice_user"] * 2 + ["bob_user"] * 2
        return found

    def keeper(self) -> int:
        return int(self.bed.ok("systemctl", "show", "shiftboss", "--property=MainPID", "--value"))

    def engine(self) -> int:
        return int(self.bed.ok("cat", "/run/shiftboss/engine.pid"))

    def log_has(self, project: str, worker: str, words: str) -> str:
        """Wait until a worker's log has a line with these words; return the last of them."""
        path = f"/infra/logs/projects/{project}/{worker}.log"

        def line() -> str:
            found = self.bed.run("grep", "-F", words, path)
            return found.output.splitlines()[-1] if found.status == 0 else ""

        return wait_until(line, 60, what=f"{words} in {path}", interval=0.3)

    def cgroup(self, pid: int) -> str:
        """Return the cgroup of a process in the hierarchy of version 2."""
        lines = self.bed.ok("cat", f"/proc/{pid}/cgroup").splitlines()
        return next(line.removeprefix("0::") for line in lines if line.startswith("0::"))
