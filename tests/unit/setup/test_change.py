"""Requests as changes: what is written, what is pinned, what is refused before anything is touched."""

import pytest
from msgspec.structs import replace
from tests.shop import CONF_FILE, CONFIG, LOGS, PROJECT_FILE, QUEUE, ROOT, SCHEDULER, Shop, deploy

from shiftboss.core.errors import HostError, UserError
from shiftboss.core.plan import WriteFile
from shiftboss.core.spec import Account
from shiftboss.host.fake import fake_machine
from shiftboss.setup.closing import closing_lines
from shiftboss.setup.requests import ScheduleRequest, WorkerRequest


def test_the_first_set_up_registers_the_project_and_pins_what_it_found() -> None:
    shop = Shop()
    shop.set_up(QUEUE)

    assert shop.machine.files.text(CONFIG) == '[backend]\nworkers = "supervisor"\n'
    assert shop.machine.files.text(PROJECT_FILE) == (
        '[project]\nuser = "shop_user"\ninterpreters = {php = "/usr/bin/php"}\n\n'
        '[workers.queue]\npreset = "laravel-queue"\n'
    )
    shop.set_up(SCHEDULER)
    assert shop.machine.files.text(CONFIG) == '[backend]\nworkers = "supervisor"\nschedules = "cron"\n'


def test_a_backend_that_is_configured_never_flips() -> None:
    shop = Shop()
    shop.machine.files.write(CONFIG, '[backend]\nworkers = "nomad"\n')

    with pytest.raises(UserError, match="'nomad' is no backend for a worker") as error:
        shop.set_up(QUEUE)
    assert "Known: supervisor, native." in error.value.hint


@pytest.mark.parametrize("backend", ["logrotate", "cron", "Supervisor", ""])
def test_a_backend_that_cannot_run_a_worker_is_refused(backend: str) -> None:
    """`logrotate` was once taken for one: the worker then ran nowhere, and status broke."""
    shop = Shop()
    shop.machine.files.write(CONFIG, '[backend]\nworkers = "supervisor"\n')
    shop.write_project(
        f'[workers.queue]\npreset = "laravel-queue"\nbackend = "{backend}x"\n'.replace(
            "x", "" if backend else "x"
        )
    )

    with pytest.raises(UserError, match="is no backend for a worker"):
        shop.apply()


def test_secrets_in_our_own_files_stay_hidden() -> None:
    """A project file or config.toml of 0600 once came back as 0644, with the password in it."""
    shop = Shop()
    shop.machine.files.write(CONFIG, '[supervisor]\npassword = "hush"\n', mode=0o600)
    shop.machine.files.write(PROJECT_FILE, '[project]\nenvironment = { TOKEN = "hush" }\n', mode=0o640)

    shop.set_up(QUEUE, SCHEDULER)

    for path, mode in ((CONFIG, 0o600), (PROJECT_FILE, 0o640)):
        node = shop.machine.files.node(path)
        assert node is not None
        assert node.mode == mode, path
        assert b"hush" in node.data


def test_a_new_project_file_is_for_root_alone() -> None:
    """It holds commands and variables of one project; the workers of another could read them."""
    shop = Shop()
    shop.set_up(QUEUE)
    modes = {path: node.mode for path, node in shop.machine.files.snapshot().items()}
    assert (modes[PROJECT_FILE], modes[CONFIG]) == (0o600, 0o644)


def test_a_file_written_by_hand_is_applied_on_a_fresh_server() -> None:
    """Editing by hand and `apply` is the same as `setup`, the choice of the backends too."""
    shop = Shop()
    shop.write_project(
        '[workers.queue]\npreset = "laravel-queue"\n[schedules.s]\npreset = "laravel-scheduler"\n'
    )

    shop.apply()

    assert shop.machine.files.text(CONFIG) == '[backend]\nworkers = "supervisor"\nschedules = "cron"\n'
    assert shop.machine.supervisord.states() == {"shop_queue:shop_queue": "RUNNING"}
    assert shop.prepared_apply().plan.actions == ()


def test_a_unit_that_was_there_before_has_its_backend_chosen_too() -> None:
    shop = Shop()
    shop.write_project('[schedules.s]\npreset = "laravel-scheduler"\n')

    shop.set_up(replace(QUEUE, backend="supervisor"))

    assert shop.machine.files.text(CONFIG) == '[backend]\nschedules = "cron"\n'


def test_status_before_the_first_apply_says_what_to_do() -> None:
    shop = Shop()
    shop.write_project('[workers.queue]\npreset = "laravel-queue"\n')

    with pytest.raises(UserError, match="no backend for a worker is chosen yet") as error:
        shop.resolved()
    assert "shiftboss apply" in error.value.hint


def test_comments_of_the_project_file_survive() -> None:
    shop = Shop()
    shop.write_project('# ours\n[project]\nuser = "shop_user" # not root\n')

    shop.set_up(QUEUE)

    text = shop.machine.files.text(PROJECT_FILE)
    assert text.startswith("# ours\n")
    assert 'user = "shop_user" # not root\n' in text


def test_interpreters_are_pinned_once_and_an_upgrade_does_not_change_them() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    shop.machine.commands.install("/usr/local/bin/php")

    shop.set_up(WorkerRequest("thumbs", command="php artisan thumbs:work"))

    assert shop.machine.files.text(PROJECT_FILE).count("/usr/bin/php") == 1
    assert "/usr/local/bin/php" not in shop.machine.files.text(PROJECT_FILE)
    assert shop.prepared_apply().plan.actions == ()


def test_a_pinned_interpreter_that_is_gone_is_told() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    shop.machine.files.delete("/usr/bin/php")

    with pytest.raises(
        HostError, match=r"^cannot find /usr/bin/php, the php that project shop is pinned to$"
    ) as error:
        shop.apply()
    assert "interpreters" in error.value.hint


def unknown(shop: Shop) -> None:
    shop.machine.files.delete(ROOT)


def undeployed(shop: Shop) -> None:
    shop.machine.files.delete(f"{ROOT}/current")


def dangling(shop: Shop) -> None:
    shop.machine.files.link(f"{ROOT}/current", "releases/9", uid=1500)


def no_user(shop: Shop) -> None:
    del shop.machine.accounts.users["shop_user"]


def no_php(shop: Shop) -> None:
    shop.machine.files.delete("/usr/bin/php")


def no_release_for_the_user(shop: Shop) -> None:
    shop.machine.files.directory(ROOT, uid=0, gid=0, mode=0o700)


@pytest.mark.parametrize(
    ("fault", "message", "hint"),
    [
        (unknown, "unknown project 'shop': there is no directory /infra/projects/shop", "--root DIR"),
        (
            undeployed,
            "project shop has no release yet: /infra/projects/shop/current does not exist",
            "Deploy it",
        ),
        (dangling, "project shop has no release yet", "Deploy it"),
        (no_user, "the user shop_user of project shop does not exist", "--create-user"),
        (no_php, "php", "nstall"),
    ],
)
@pytest.mark.parametrize("request_", [QUEUE, SCHEDULER], ids=["worker", "schedule"])
def test_what_is_missing_is_told_and_nothing_is_changed(
    fault: object, message: str, hint: str, request_: object
) -> None:
    shop = Shop()
    assert callable(fault)
    fault(shop)
    before = shop.machine.files.snapshot()

    with pytest.raises((UserError, HostError)) as error:
        shop.set_up(request_)  # type: ignore[arg-type]  # one of the two requests

    assert message in str(error.value)
    assert hint in error.value.hint
    assert shop.machine.files.snapshot() == before
    assert shop.machine.supervisord.states() == {}


def test_two_names_that_supervisor_cannot_tell_apart_are_refused() -> None:
    shop = Shop()
    deploy(shop.machine, "a_b", uid=1600)
    deploy(shop.machine, "a", uid=1601)
    shop.set_up(WorkerRequest("c", command="php x"), project="a_b")

    with pytest.raises(
        UserError, match=r"^a/b_c and a_b/c would both be called a_b_c$|^a_b/c and a/b_c would"
    ):
        shop.set_up(WorkerRequest("b_c", command="php x"), project="a")


def test_what_stands_in_the_way_of_a_log_is_never_opened() -> None:
    shop = Shop()
    shop.machine.files.directory(LOGS, uid=1500, gid=1500)
    shop.machine.files.link(f"{LOGS}/queue.log", "/etc/passwd", uid=1500)
    before = shop.machine.files.snapshot()

    with pytest.raises(HostError, match="is a symbolic link of uid 1500"):
        shop.set_up(QUEUE)

    assert shop.machine.files.snapshot() == before


def test_nothing_is_changed_in_a_read_only_conf_dir() -> None:
    shop = Shop()
    shop.machine.files.read_only.add("/etc/supervisor")
    before = shop.machine.files.snapshot()

    with pytest.raises(
        HostError, match=r"^cannot write /etc/supervisor/conf\.d/shop_queue\.conf: read-only"
    ) as error:
        shop.set_up(QUEUE)

    assert "remount" in error.value.hint
    texts = {p: n for p, n in shop.machine.files.snapshot().items() if n.type == "file"}
    assert texts == {p: n for p, n in before.items() if n.type == "file"}


ANN = Account("ann", 1000, 1000, "ann", "/home/ann", "/bin/bash")


CONFIG_OF_ANN = "/home/ann/.config/shiftboss"
ON_SUPERVISOR = '[backend]\nworkers = "supervisor"\n'


def shop_of_ann() -> Shop:
    """Return a server on which an ordinary user has a project."""
    shop = Shop(fake_machine(ANN))
    for path in ("/home/ann", CONFIG_OF_ANN, ROOT, "/infra/logs/projects"):
        shop.machine.files.directory(path, uid=1000, gid=1000)
    return shop


def test_a_user_without_rights_is_sent_to_root_and_nothing_is_changed() -> None:
    shop = shop_of_ann()
    shop.machine.files.write(f"{CONFIG_OF_ANN}/config.toml", ON_SUPERVISOR, uid=1000)

    with pytest.raises(
        HostError, match=r"^cannot write /etc/supervisor/conf\.d/.*: permission denied$"
    ) as error:
        shop.set_up(QUEUE)

    assert error.value.hint == "Run the command as root (sudo)."
    assert shop.machine.files.node("/home/ann/.config/shiftboss/projects/shop.toml") is None


def test_an_ordinary_user_sets_up_an_own_project_on_an_own_supervisor() -> None:
    shop = shop_of_ann()
    shop.machine.files.directory("/etc/supervisor/conf.d", uid=1000, gid=1000)
    shop.machine.files.write(f"{CONFIG_OF_ANN}/config.toml", ON_SUPERVISOR, uid=1000)

    shop.set_up(QUEUE)

    assert shop.machine.supervisord.states() == {"shop_queue:shop_queue": "RUNNING"}
    assert "user=" not in shop.machine.files.text(CONF_FILE)
    assert 'user = "ann"' in shop.machine.files.text("/home/ann/.config/shiftboss/projects/shop.toml")
    assert shop.prepared_apply().plan.actions == ()


def test_an_ordinary_user_needs_nothing_but_our_own_engine() -> None:
    shop = shop_of_ann()

    shop.set_up(QUEUE)

    facts = shop.machine.engine.facts()
    assert facts
    assert [unit.address for unit in facts.units] == ["shop/queue"]
    assert shop.machine.files.text(f"{CONFIG_OF_ANN}/config.toml") == '[backend]\nworkers = "native"\n'
    node = shop.machine.files.node(LOGS)
    assert node is not None
    assert (node.uid, node.mode) == (1000, 0o750)
    assert shop.prepared_apply().plan.actions == ()


def test_a_change_to_nothing_is_nothing() -> None:
    shop = Shop()
    shop.set_up(QUEUE)

    change = shop.prepared()

    assert change.plan.actions == ()
    assert change.asked == ()
    assert change.concerned == ()


def test_the_diff_of_a_dry_run_is_exact() -> None:
    shop = Shop()
    change = shop.prepared(QUEUE)
    shop.set_up(QUEUE)

    written = {a.path: a.content for a in change.plan.actions if isinstance(a, WriteFile)}
    assert written == {path: shop.machine.files.text(path) for path in written}


def test_the_last_lines_tell_how_to_go_on() -> None:
    shop = Shop()
    shop.machine.boot.answer = False
    one = shop.set_up(QUEUE)
    assert closing_lines(shop.machine, one) == (
        f"log of shop/queue: {LOGS}/queue.log",
        "also: supervisorctl status shop_queue; supervisorctl restart shop_queue",
        "note: supervisor does not start at boot; to change that: systemctl enable supervisor",
    )
    shop.machine.boot.answer = None
    many = shop.set_up(replace(QUEUE, processes=2))
    assert (
        "supervisorctl status 'shop_queue:*'; supervisorctl restart 'shop_queue:*'"
        in closing_lines(shop.machine, many)[1]
    )


def test_a_scheduler_that_runs_elsewhere_too_is_told() -> None:
    shop = Shop()
    shop.machine.cron.crontabs["/var/spool/cron/crontabs/shop_user"] = (
        "* * * * * cd /infra/projects/shop/current && php artisan schedule:run\n"
    )

    lines = closing_lines(shop.machine, shop.set_up(SCHEDULER))

    assert [line for line in lines if "every task would run twice" in line]
    backup = shop.set_up(ScheduleRequest("backup", cron="0 2 * * *", command="php backup"))
    assert not [line for line in closing_lines(shop.machine, backup) if "twice" in line]


def test_a_project_without_a_release_does_not_stop_the_others() -> None:
    """`apply` of everything once ended at the first project that was not deployed yet."""
    shop = Shop()
    shop.write_project('[workers.queue]\npreset = "laravel-queue"\n')
    shop.write_project('[project]\nuser = "shop_user"\n\n[workers.x]\ncommand = "php x"\n', name="blog")

    change = shop.prepared_apply("blog", "shop")

    assert [resolved.project.name for resolved in change.projects] == ["shop"]
    assert [str(error) for error in change.errors]
    with pytest.raises((HostError, UserError), match="blog"):
        shop.prepared_apply("blog")
