"""A release that declares workers and schedules of its project: taken by `apply`, refused, kept, shown, taken away."""

import pytest
from tests.shop import CONFIG, PROJECT_FILE, ROOT, Shop, deploy

from shiftboss.core.errors import UserError
from shiftboss.core.plan import RemoveFile
from shiftboss.setup.change import Change
from shiftboss.setup.doctor import examine
from shiftboss.setup.report import report
from shiftboss.setup.requests import WorkerRequest
from shiftboss.setup.self_service import offer_trouble

OFFER = f"{ROOT}/releases/1/shiftboss.toml"
ACCEPTED = "/var/lib/shiftboss/self_service/shop.toml"
MANIFEST = "/var/lib/shiftboss/manifest/shop.json"
OWN = '[project]\nself_service = true\n\n[workers.queue]\npreset = "laravel-queue"\n'
THUMBS = '[workers.thumbs]\ncommand = "php artisan thumbs:work"\n'


@pytest.fixture
def shop() -> Shop:
    shop = Shop()
    shop.machine.files.write(CONFIG, '[backend]\nworkers = "native"\nschedules = "native"\n')
    shop.write_project(OWN)
    return shop


def offer(shop: Shop, text: str | bytes) -> None:
    shop.machine.files.write(OFFER, text, uid=1500, gid=1500)


def running(shop: Shop) -> list[str]:
    return sorted(unit.name for unit in shop.resolved().units)


def told(change: Change) -> str:
    return " | ".join(map(str, change.errors))


def test_the_file_of_a_release_comes_into_force_with_apply_and_not_before(shop: Shop) -> None:
    shop.apply()
    offer(shop, THUMBS)
    assert running(shop) == ["queue"]
    trouble = offer_trouble(shop.machine, shop.site, "shop", shop.catalog.require("shop"))
    assert trouble == f"{ROOT}/current/shiftboss.toml is not what is in force: shiftboss apply shop"
    assert "self-service" in {f.code for f in examine(shop.machine, shop.site, shop.catalog, "shop")}

    change = shop.apply()

    assert not change.errors
    assert running(shop) == ["queue", "thumbs"]
    assert "shop/thumbs" in shop.machine.files.text(MANIFEST)
    assert f"declared by the release ({ROOT}/current/shiftboss.toml): shop/thumbs" in change.plan.notes
    assert report(shop.machine, shop.site, [shop.resolved()]).projects[0].from_release == ("thumbs",)
    assert shop.machine.files.node(ACCEPTED).mode == 0o600  # type: ignore[union-attr]
    assert "self-service" not in {f.code for f in examine(shop.machine, shop.site, shop.catalog, "shop")}
    assert not shop.prepared_apply().plan.actions


def test_without_self_service_the_file_means_nothing_and_switching_it_off_ends_its_units(shop: Shop) -> None:
    offer(shop, THUMBS)
    shop.write_project(OWN.replace("true", "false"))
    shop.apply()
    assert running(shop) == ["queue"]
    shop.write_project(OWN)
    shop.apply()
    assert running(shop) == ["queue", "thumbs"]

    shop.write_project(OWN.replace("true", "false"))
    shop.apply()

    assert running(shop) == ["queue"]
    assert shop.machine.files.node(ACCEPTED) is None
    assert "thumbs" not in shop.machine.files.text(MANIFEST)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[project]\nuser = "root"\n', "not project"),
        ('[workers.thumbs]\ncommand = "php x"\nprocesses = 11\n', "more than the 10 that root allows"),
        ('[workers.queue]\ncommand = "php x"\n', "declares 'queue' already"),
        ('[schedules.s]\ncron = "61 * * * *"\ncommand = "php x"\n', "minute"),
        ('[workers.thumbs]\ncommand = "no-such-program"\n', "no-such-program"),
        ('[workers.thumbs]\ncommand = "php x"\nenv_file = "/infra/projects/bank/.env"\n', "must be inside"),
        ('[workers.thumbs]\npreset = "../../etc/passwd"\n', "unknown preset"),
        (b"\xff\xfe", "not UTF-8"),
        (b"#" * 70_000, "it has more than 65536 bytes"),
    ],
)
def test_what_is_refused_changes_nothing_and_what_was_accepted_goes_on(
    shop: Shop, text: str | bytes, words: str
) -> None:
    offer(shop, THUMBS)
    shop.apply()
    manifest = shop.machine.files.text(MANIFEST)
    offer(shop, text)

    change = shop.apply()

    assert words in told(change)
    assert change.errors[0].hint
    assert shop.machine.files.text(MANIFEST) == manifest
    assert shop.machine.files.text(ACCEPTED) == THUMBS
    assert running(shop) == ["queue", "thumbs"]


def test_a_link_in_its_place_is_refused_and_never_followed(shop: Shop) -> None:
    shop.machine.files.write("/root/secret.toml", THUMBS, mode=0o600)
    shop.machine.files.link(OFFER, "/root/secret.toml", uid=1500)
    change = shop.apply()
    assert "cannot read" in told(change)
    assert running(shop) == ["queue"]


def test_root_has_the_last_word_over_what_was_accepted(shop: Shop) -> None:
    """What root's file does not allow any more does not go on, and the reason is told."""
    offer(shop, THUMBS)
    shop.apply()
    shop.write_project(OWN + '[workers.thumbs]\ncommand = "php mine"\n')
    assert running(shop) == ["queue", "thumbs"]

    change = shop.apply()

    assert "root's file declares 'thumbs' already" in told(change)
    assert shop.resolved().unit("thumbs").argv[-1] == "mine"
    assert not shop.resolved().released


def test_a_file_that_is_gone_takes_its_units_with_it(shop: Shop) -> None:
    offer(shop, THUMBS)
    shop.apply()
    shop.machine.files.delete(OFFER)
    change = shop.apply()
    assert running(shop) == ["queue"]
    assert any(isinstance(a, RemoveFile) and a.path == ACCEPTED for a in change.plan.actions)


def test_one_projects_release_cannot_stop_the_others(shop: Shop) -> None:
    """`a_b/c` and `a/b_c` are one name in Supervisor: who declares the second is refused, alone."""
    deploy(shop.machine, "shop_a", uid=1501)
    shop.write_project('[workers.b]\ncommand = "php x"\n', "shop_a")
    shop.apply()
    offer(shop, '[workers.a_b]\ncommand = "php x"\n')

    change = shop.apply()

    assert "shop_a" in told(change)
    assert running(shop) == ["queue"]
    offer(shop, THUMBS)
    assert not shop.apply().errors


def test_units_of_a_release_are_changed_in_the_release(shop: Shop) -> None:
    offer(shop, THUMBS)
    shop.apply()
    with pytest.raises(UserError, match="shop/thumbs is declared by the release"):
        shop.set_up(WorkerRequest("thumbs", processes=3, named=True))
    with pytest.raises(UserError, match="shop/thumbs is declared by the release"):
        shop.remove("thumbs")
    shop.set_up(WorkerRequest("mail", command="php artisan mail", named=True))
    assert running(shop) == ["mail", "queue", "thumbs"]
    assert "thumbs" not in shop.machine.files.text(PROJECT_FILE)
    shop.remove()
    assert shop.machine.files.node(ACCEPTED) is None
    assert shop.machine.files.node(MANIFEST) is None
