"""`shiftboss doctor` on a server in memory: which facts reach which rule."""

import pytest
from tests.shop import PROJECT_FILE, QUEUE, ROOT, SCHEDULER, Shop

from shiftboss.core.doctor import Finding
from shiftboss.core.errors import UserError
from shiftboss.core.facts import Finished
from shiftboss.setup.closing import closing_lines
from shiftboss.setup.doctor import examine

CONFIG = "/etc/shiftboss/config.toml"


def examined(shop: Shop, name: str | None = None) -> dict[str, Finding]:
    return {f.code: f for f in examine(shop.machine, shop.site, shop.catalog, name)}


def on_native(shop: Shop) -> Shop:
    shop.machine.files.directory("/etc/shiftboss")
    shop.machine.files.write(CONFIG, '[backend]\nworkers = "native"\n')
    return shop


def with_postfix(shop: Shop) -> Shop:
    shop.machine.commands.answers["php"] = lambda argv: Finished(
        0, "/usr/sbin/sendmail -t -i" if "-r" in argv else ""
    )
    shop.machine.files.write("/usr/sbin/sendmail", "x", mode=0o755)
    shop.machine.files.write("/usr/sbin/postdrop", "x", mode=0o2555)
    return shop


def test_what_runs_twice_is_found_in_crontabs_and_in_supervisors_files() -> None:
    shop = Shop()
    shop.set_up(QUEUE, SCHEDULER)
    assert "double-run" not in examined(shop)
    shop.machine.cron.crontabs["/etc/crontab"] = f"* * * * * root php {ROOT}/current/artisan schedule:run\n"
    assert examined(shop)["double-run"].mend == "vi /etc/crontab"
    shop.machine.cron.crontabs.clear()
    shop.machine.files.write(
        "/etc/supervisor/conf.d/old.conf",
        f"[program:old]\ncommand=php {ROOT}/current/artisan queue:work\n",
    )
    assert "the program old in /etc/supervisor/conf.d/old.conf" in examined(shop)["double-run"].message


def test_services_that_are_used_and_do_not_answer() -> None:
    shop = Shop()
    shop.set_up(QUEUE, SCHEDULER)
    shop.machine.supervisord.down = True
    shop.machine.cron.pid = None
    shop.machine.boot.answer = False
    found = examined(shop)
    assert {"supervisor-down", "cron-down", "not-at-boot"} <= set(found)
    native = on_native(Shop())
    native.set_up(QUEUE)
    native.machine.engine.down = True
    assert examined(native)["engine-down"].mend == "shiftboss up"


def test_mail_that_cannot_work_is_told_by_doctor_and_by_setup() -> None:
    shop = with_postfix(on_native(Shop()))
    change = shop.set_up(QUEUE)
    told = [line for line in closing_lines(shop.machine, change) if "mail()" in line]
    assert len(told) == 1
    assert "/usr/sbin/postdrop" in told[0]
    assert examined(shop)["mail"].level == "note"

    text = shop.machine.files.text(PROJECT_FILE)
    shop.machine.files.write(
        PROJECT_FILE, text.replace("[workers.queue]", "[workers.queue]\nno_new_privs = false")
    )
    assert "mail" not in examined(shop)
    plain = with_postfix(Shop())
    plain.set_up(QUEUE)
    assert "mail" not in examined(plain), "the plain form on Supervisor takes no rights"


def test_sudo_and_a_broken_file_of_another_project() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    shop.machine.files.write("/etc/sudoers.d/shop", "shop_user ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)
    shop.machine.files.write("/etc/shiftboss/projects/bad.toml", "[")
    assert examined(shop)["sudo"].mend == "visudo -f /etc/sudoers.d/shop"
    assert examined(shop)["config"].message.startswith("/etc/shiftboss/projects/bad.toml")
    assert "config" not in examined(shop, "shop")
    with pytest.raises(UserError, match="unknown project"):
        examined(shop, "nope")
