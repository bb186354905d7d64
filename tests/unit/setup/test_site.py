"""Which server this is, and what a command starts from."""

import pytest
from tests.shop import Told

from shiftboss.core.errors import DeniedError, HostError, UserError
from shiftboss.core.spec import Account
from shiftboss.host.fake import ROOT, FakeMachine, fake_machine
from shiftboss.setup.session import Session, on_machine, this_machine
from shiftboss.setup.site import load_site

ANN = Account("ann", 1000, 1000, "ann", "/home/ann", "/bin/bash")


def test_root_works_for_the_whole_server() -> None:
    machine = fake_machine()
    site = load_site(machine.files, machine.accounts, config=None, environ={})

    assert site.system
    assert site.config_file == "/etc/shiftboss/config.toml"
    assert (site.projects_d, site.state, site.run) == (
        "/etc/shiftboss/projects",
        "/var/lib/shiftboss",
        "/run/shiftboss",
    )
    assert (site.projects, site.logs, site.user) == (
        "/infra/projects",
        "/infra/logs/projects",
        "{project}_user",
    )


def test_anybody_else_works_for_themselves_in_the_xdg_directories() -> None:
    machine = fake_machine(ANN)
    site = load_site(machine.files, machine.accounts, config=None, environ={})
    assert not site.system
    assert site.user == "ann"
    assert site.config_file == "/home/ann/.config/shiftboss/config.toml"
    assert (site.state, site.run) == (
        "/home/ann/.local/state/shiftboss",
        "/home/ann/.local/state/shiftboss/run",
    )

    environ = {"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r"}
    site = load_site(machine.files, machine.accounts, config=None, environ=environ)
    assert (site.projects_d, site.state, site.run) == (
        "/c/shiftboss/projects",
        "/s/shiftboss",
        "/r/shiftboss",
    )


def test_a_named_config_brings_everything_with_it() -> None:
    machine = fake_machine()
    machine.files.write("/opt/test/config.toml", '[paths]\nrun = "elsewhere"\n')

    for how in (
        {"config": "/opt/test/config.toml"},
        {"environ": {"SHIFTBOSS_CONFIG": "/opt/test/config.toml"}},
    ):
        site = load_site(machine.files, machine.accounts, **{"config": None, "environ": {}, **how})  # type: ignore[arg-type]
        assert (site.projects_d, site.state, site.run) == (
            "/opt/test/projects",
            "/opt/test/state",
            "/opt/test/elsewhere",
        )


def test_the_usual_config_is_the_usual_server_also_when_it_is_named() -> None:
    """It once got a lock and a state of its own: two commands changed one server at a time."""
    for account, path in (
        (ROOT, "/etc/shiftboss/config.toml"),
        (ANN, "/home/ann/.config/shiftboss/config.toml"),
    ):
        machine = fake_machine(account)
        machine.files.write(path, "")
        named = load_site(machine.files, machine.accounts, config=path, environ={})
        assert named == load_site(machine.files, machine.accounts, config=None, environ={})


def test_a_named_config_must_exist_and_be_right() -> None:
    machine = fake_machine()
    with pytest.raises(UserError, match=r"^cannot read /opt/config\.toml: there is no such file$") as error:
        load_site(machine.files, machine.accounts, config="/opt/config.toml", environ={})
    assert "--config" in error.value.hint

    machine.files.write("/opt/config.toml", "layuot = 1")
    with pytest.raises(UserError, match=r"^/opt/config.toml: layuot: unknown key"):
        load_site(machine.files, machine.accounts, config="/opt/config.toml", environ={})
    machine.files.write("/opt/config.toml", b"\xff")
    with pytest.raises(HostError, match="not UTF-8"):
        load_site(machine.files, machine.accounts, config="/opt/config.toml", environ={})


def session(machine: FakeMachine, told: Told) -> Session:
    return Session(machine, told, None, {})


def test_what_was_read_before_the_lock_is_read_again_under_it() -> None:
    machine, told = fake_machine(), Told()
    opened = session(machine, told)
    assert opened.catalog.entries == {}
    machine.files.write("/etc/shiftboss/projects/shop.toml", "")
    machine.files.write("/etc/shiftboss/config.toml", '[backend]\nworkers = "supervisor"\n')

    with opened.changing():
        assert list(opened.catalog.entries) == ["shop"]
        assert opened.site.worker_backend == "supervisor"
    assert told.steps == []


def test_who_must_wait_for_another_is_told() -> None:
    machine, told = fake_machine(), Told()
    machine.files.held.add("/run/shiftboss/lock")

    class Patient(Told):
        def step(self, text: str) -> None:
            super().step(text)
            machine.files.held.clear()

    told = Patient()
    with session(machine, told).changing():
        assert told.steps == ["another shiftboss is changing this server: waiting for it"]


def test_commands_work_on_the_machine_that_is_chosen() -> None:
    machine = fake_machine()
    with on_machine(machine):
        assert this_machine() is machine
    assert this_machine() is not machine


ROOTS_SOCKET = "/run/shiftboss/api.sock"


def test_who_has_nothing_of_ones_own_asks_the_server_of_root() -> None:
    machine = fake_machine(ANN)
    machine.files.write(ROOTS_SOCKET, "", uid=0)
    opened = session(machine, Told())
    assert opened.site.api_socket == ROOTS_SOCKET
    assert (opened.site.system, opened.is_guest) == (False, True)
    for forbidden in (lambda: opened.catalog, opened.changing().__enter__, opened.refuse_guest):
        with pytest.raises(DeniedError, match="only root may") as caught:
            forbidden()
        assert "sudo" in caught.value.hint
        assert "status, logs" in caught.value.hint


def test_where_root_has_put_its_socket_is_read_from_its_config_if_that_may_be_read() -> None:
    machine = fake_machine(ANN)
    machine.files.write("/etc/shiftboss/config.toml", '[paths]\nrun = "/srv/run"\n', uid=0)
    machine.files.write("/srv/run/api.sock", "", uid=0)
    assert session(machine, Told()).site.api_socket == "/srv/run/api.sock"


@pytest.mark.parametrize(
    "own", ["/home/ann/.config/shiftboss/config.toml", "/home/ann/.local/state/shiftboss/run/api.sock"]
)
def test_who_has_a_shiftboss_of_ones_own_keeps_it(own: str) -> None:
    machine = fake_machine(ANN)
    machine.files.write(ROOTS_SOCKET, "", uid=0)
    machine.files.write(own, "", uid=1000)
    opened = session(machine, Told())
    assert opened.site.run == "/home/ann/.local/state/shiftboss/run"
    assert not opened.is_guest
    assert opened.catalog.entries == {}


def test_an_engine_of_ones_own_is_nobodys_guest_and_root_never_is() -> None:
    for account, owner, guest in ((ANN, 1000, False), (ANN, 0, True), (ANN, 1001, True), (ROOT, 1000, False)):
        machine = fake_machine(account)
        machine.files.write("/srv/config.toml", "", uid=0)
        machine.files.write("/srv/run/api.sock", "", uid=owner)
        opened = Session(machine, Told(), "/srv/config.toml", {})
        assert opened.is_guest == guest, (account, owner)


def test_the_config_of_the_server_means_the_server_also_for_others() -> None:
    machine = fake_machine(ANN)
    machine.files.write("/etc/shiftboss/config.toml", "", uid=0)
    machine.files.write("/home/ann/.config/shiftboss/config.toml", "", uid=1000)
    machine.files.write(ROOTS_SOCKET, "", uid=0)
    opened = Session(machine, Told(), "/etc/shiftboss/config.toml", {})
    assert (opened.site.run, opened.is_guest) == ("/run/shiftboss", True)
