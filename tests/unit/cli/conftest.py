"""The command line on a server in memory."""

from collections.abc import Callable

import click
import pytest
from tests.shop import Shop

from shiftboss.cli.main import cli, run
from shiftboss.setup.session import on_machine


@pytest.fixture
def sh(shop: Shop, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line on the test's shop; it gives back exit code, standard output and standard error."""

    def ran(*arguments: str, command: click.Command = cli, name: str = "shiftboss") -> tuple[int, str, str]:
        capsys.readouterr()
        with on_machine(shop.machine):
            code = run(command, arguments, name)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return ran
