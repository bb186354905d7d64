"""A server in memory with a Laravel project `shop` that is deployed and not set up yet; use cases run on it."""

from collections.abc import Sequence

from shiftboss.core.plan import Override, Plan
from shiftboss.core.spec import Site
from shiftboss.host.fake import FakeMachine, fake_machine
from shiftboss.setup.catalog import Catalog, load_catalog
from shiftboss.setup.change import Change, commit, prepare_apply, prepare_removal, prepare_requests
from shiftboss.setup.requests import Request, ScheduleRequest, WorkerRequest
from shiftboss.setup.site import load_site
from shiftboss.setup.units import Resolved, resolve

CONFIG = "/etc/shiftboss/config.toml"
PROJECT_FILE = "/etc/shiftboss/projects/shop.toml"
CONF_FILE = "/etc/supervisor/conf.d/shop_queue.conf"
CRON_FILE = "/etc/cron.d/shiftboss-shop"
LOGS = "/infra/logs/projects/shop"
ROOT = "/infra/projects/shop"
QUEUE = WorkerRequest("queue", preset="laravel-queue")
SCHEDULER = ScheduleRequest("scheduler", preset="laravel-scheduler")
COMPOSER = '{"require": {"php": "^8.2", "laravel/framework": "^11.0"}}'
NO, FORCE, ADOPT = Override(), Override(force=True), Override(adopt=True)


class Told:
    """A `Progress` that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.waits: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def waiting(self, text: str) -> None:
        self.waits.append(text)


class Shop:
    """The server, and what commands do on it."""

    def __init__(self, machine: FakeMachine | None = None) -> None:
        self.machine = machine or fake_machine()
        self.told = Told()
        deploy(self.machine, "shop", uid=1500)
        self.machine.commands.install("/usr/bin/php", "/usr/bin/node", "/usr/bin/npm")

    @property
    def site(self) -> Site:
        return load_site(self.machine.files, self.machine.accounts, config=None, environ={})

    @property
    def catalog(self) -> Catalog:
        return load_catalog(self.machine.files, self.site)

    def resolved(self, name: str = "shop") -> Resolved:
        return resolve(self.machine, self.site, name, self.catalog.require(name))

    def prepared(self, *requests: Request, override: Override = NO, project: str = "shop") -> Change:
        return prepare_requests(self.machine, self.site, self.catalog, project, requests, override)

    def set_up(self, *requests: Request, override: Override = NO, project: str = "shop") -> Change:
        """Do what `shiftboss setup` does."""
        change = self.prepared(*requests, override=override, project=project)
        commit(self.machine, change, self.told)
        return change

    def prepared_apply(self, *names: str, override: Override = NO) -> Change:
        catalog = self.catalog
        return prepare_apply(self.machine, self.site, catalog, names or sorted(catalog.entries), override)

    def apply(self, *names: str, override: Override = NO) -> Change:
        """Do what `shiftboss apply` does."""
        change = self.prepared_apply(*names, override=override)
        commit(self.machine, change, self.told)
        return change

    def remove(self, unit: str | None = None, *, override: Override = NO) -> Change:
        """Do what `shiftboss remove` does."""
        change = prepare_removal(self.machine, self.site, self.catalog, "shop", unit, override)
        commit(self.machine, change, self.told)
        return change

    def write_project(self, text: str, name: str = "shop") -> None:
        """Write a project file by hand."""
        self.machine.files.write(f"/etc/shiftboss/projects/{name}.toml", text)


def deploy(machine: FakeMachine, name: str, *, uid: int, release: int = 1) -> None:
    """Deploy a release of a Laravel project: its user, its files, its `current`."""
    account = machine.accounts.by_name(f"{name}_user") or machine.accounts.add(f"{name}_user", uid)
    root = f"/infra/projects/{name}"
    ids = {"uid": account.uid, "gid": account.gid}
    machine.files.directory(root, **ids)
    for path, text in (("artisan", "#!/usr/bin/env php\n"), ("composer.json", COMPOSER)):
        machine.files.write(f"{root}/releases/{release}/{path}", text, **ids)
    machine.files.link(f"{root}/current", f"releases/{release}", uid=account.uid)


def kinds(plan: Plan) -> Sequence[str]:
    """Return the kinds of a plan's actions, in their order."""
    return [action.kind for action in plan.actions]
