"""`shiftboss service` on a machine in memory: what is done in which order, and what is refused."""

import pytest
from tests.shop import Shop

from shiftboss.core.errors import HostError
from shiftboss.core.facts import Finished
from shiftboss.core.managed import seal
from shiftboss.setup.service import Answering, Service, Step

PYTHON = "/opt/shiftboss/current/bin/python"
UNIT = "/etc/systemd/system/shiftboss.service"


class Systemd:
    """A systemd that does what it is told, and the service on it."""

    def __init__(self) -> None:
        self.shop = Shop()
        machine = self.shop.machine
        machine.files.directory("/run/systemd/system")
        machine.files.directory("/etc/systemd/system")
        machine.commands.install(
            *(
                f"/usr/bin/{name}"
                for name in ("systemctl", "useradd", "userdel", "find", "getent", "cat", "kill")
            )
        )
        machine.commands.answers["systemctl"] = self._systemctl
        machine.commands.answers["cat"] = lambda _: Finished(0, f"A=1\0SHIFTBOSS_KEEPER={self.digest}\0")
        machine.commands.answers["kill"] = lambda _: self._new_engine()
        machine.commands.answers["getent"] = lambda _: Finished(2)
        self.pid = self.other = 0
        self.engine = 500
        self.digest, self.enabled = "", False
        self.service = Service(machine, self.shop.site, {"HOME": "/root"}, self.shop.told, self._answering)

    def _systemctl(self, argv: tuple[str, ...]) -> Finished:
        match argv[1]:
            case "show":
                active = "active" if self.pid else "inactive"
                enabled = "enabled" if self.enabled else "disabled"
                text = f"ActiveState={active}\nUnitFileState={enabled}\nMainPID={self.pid}\nResult=success\n"
                return Finished(0, text)
            case "start" | "restart":
                self.pid, self.engine = self.pid + 100, self.engine + 1
                self.digest = self.shop.machine.files.text(UNIT).partition("SHIFTBOSS_KEEPER=")[2].split()[0]
            case "stop":
                self.pid = 0
            case "enable" | "disable":
                self.enabled = argv[1] == "enable"
        return Finished(0)

    def _new_engine(self) -> Finished:
        self.engine += 1
        return Finished(0)

    def _answering(self) -> Answering | None:
        keeper = self.pid or self.other
        return Answering(keeper, self.engine, "1.0") if keeper else None

    def asked(self) -> list[str]:
        """Return what systemd was asked to do."""
        ran = self.shop.machine.commands.ran
        return [" ".join(argv[1:]) for argv in ran if argv[0] == "systemctl" and argv[1] != "show"]

    def do(self, steps: list[Step]) -> list[str]:
        """Do the steps; return their words."""
        for step in steps:
            step.do()
        return [step.words for step in steps]


@pytest.fixture
def systemd() -> Systemd:
    return Systemd()


def test_install_writes_enables_and_starts_and_then_has_nothing_to_do(systemd: Systemd) -> None:
    systemd.do(systemd.service.installing(PYTHON, "d1"))

    assert systemd.asked() == [
        "daemon-reload", "enable shiftboss.service", "reset-failed shiftboss.service",
        "start --no-block shiftboss.service",
    ]  # fmt: skip
    assert "useradd" in [argv[0] for argv in systemd.shop.machine.commands.ran]
    systemd.shop.machine.accounts.add("shiftboss", 999)
    assert systemd.service.installing(PYTHON, "d1") == []


def test_a_plan_changes_nothing(systemd: Systemd) -> None:
    before = systemd.shop.machine.files.snapshot()
    assert systemd.service.installing(PYTHON, "d1")
    assert systemd.shop.machine.files.snapshot() == before
    assert systemd.asked() == []


def test_an_upgrade_with_the_same_keeper_exchanges_the_engine_alone(systemd: Systemd) -> None:
    systemd.do(systemd.service.installing(PYTHON, "d1"))
    pid, engine = systemd.pid, systemd.engine

    assert systemd.do(systemd.service.upgrading(PYTHON, "d1")) == ["restart the engine (no worker restarts)"]

    assert (systemd.pid, systemd.engine) == (pid, engine + 1)


def test_an_upgrade_with_another_keeper_restarts_the_service_and_says_so(systemd: Systemd) -> None:
    systemd.do(systemd.service.installing(PYTHON, "d1"))
    pid = systemd.pid

    words = systemd.do(systemd.service.upgrading(PYTHON, "d2"))

    assert words == [
        f"change {UNIT}",
        "restart shiftboss.service: every worker stops in its own way and starts again",
    ]
    assert systemd.pid != pid
    assert systemd.digest == "d2"


def test_a_unit_whose_keeper_runs_older_code_than_it_says_is_restarted(systemd: Systemd) -> None:
    """A restart that was refused must not make the next upgrade believe that the new keeper runs."""
    systemd.do(systemd.service.installing(PYTHON, "d1"))
    systemd.digest = "d0"
    words = [step.words for step in systemd.service.upgrading(PYTHON, "d1")]
    assert words == ["restart shiftboss.service: every worker stops in its own way and starts again"]


def test_remove_takes_back_what_install_made(systemd: Systemd) -> None:
    systemd.do(systemd.service.installing(PYTHON, "d1"))
    systemd.shop.machine.commands.ran.clear()

    systemd.do(systemd.service.removing())

    assert systemd.asked()[:3] == [
        "stop --no-block shiftboss.service", "disable shiftboss.service", "daemon-reload",
    ]  # fmt: skip
    assert systemd.shop.machine.files.stat(UNIT) is None
    assert systemd.service.removing() == []


@pytest.mark.parametrize("owns", ["/var/lib/shiftboss/engine\n", ""])
def test_the_account_goes_only_if_install_made_it_and_it_owns_nothing(systemd: Systemd, owns: str) -> None:
    systemd.shop.machine.commands.answers["getent"] = Finished(
        0, "shiftboss:x:999:999:shiftboss engine (made by shiftboss service install):/:/usr/sbin/nologin"
    )
    systemd.shop.machine.commands.answers["find"] = Finished(0, owns)
    systemd.shop.machine.files.directory("/var/lib/shiftboss")

    systemd.do(systemd.service.removing())

    assert ("userdel" in [argv[0] for argv in systemd.shop.machine.commands.ran]) == (not owns)


def _another_installation(systemd: Systemd) -> None:
    text = (
        systemd.shop.machine.files.text(UNIT).partition("\n")[2].replace("/var/lib/shiftboss", "/srv/other")
    )
    systemd.shop.machine.files.write(UNIT, seal(text, "service", comment="#"))


REFUSED = {
    "was not written by shiftboss": lambda s: s.shop.machine.files.write(UNIT, "[Service]\n"),
    "was changed by hand": lambda s: s.shop.machine.files.write(
        UNIT, s.shop.machine.files.text(UNIT) + "Nice=5\n"
    ),
    "runs another installation": _another_installation,
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_unit_that_is_not_as_we_wrote_it_is_left_alone(systemd: Systemd, why: str) -> None:
    systemd.do(systemd.service.installing(PYTHON, "d1"))
    REFUSED[why](systemd)
    before = systemd.shop.machine.files.text(UNIT)
    for planned in (
        lambda: systemd.service.installing(PYTHON, "d1"),
        lambda: systemd.service.upgrading(PYTHON, "d1"),
        systemd.service.removing,
    ):
        with pytest.raises(HostError, match=why) as refused:
            planned()
        assert refused.value.hint
    assert systemd.shop.machine.files.text(UNIT) == before


def test_a_keeper_that_runs_in_a_terminal_is_told_before_anything_is_done(systemd: Systemd) -> None:
    systemd.other = 4711
    with pytest.raises(HostError, match=r"shiftboss runs already, as process 4711"):
        systemd.service.installing(PYTHON, "d1")
    assert systemd.shop.machine.files.stat(UNIT) is None


def test_without_systemd_the_hint_is_up_or_a_line_for_another_init(systemd: Systemd) -> None:
    systemd.shop.machine.files.delete("/run/systemd")
    with pytest.raises(HostError, match="was not started by systemd") as refused:
        systemd.service.installing(PYTHON, "d1")
    assert "shiftboss up" in refused.value.hint
    assert "-I -m shiftboss.keeper.main --manifest /var/lib/shiftboss/manifest" in refused.value.hint
