"""The command `shiftboss completion`."""

import click
from click.shell_completion import get_completion_class

PROGRAMS = ("shiftboss", "setup-supervisor", "setup-cron")


@click.command("completion", epilog="shiftboss completion bash > /etc/bash_completion.d/shiftboss")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that completes our commands, options, projects and units in a shell."""
    from shiftboss.cli.classic import setup_cron_command, setup_supervisor_command
    from shiftboss.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    commands = (cli, setup_supervisor_command, setup_cron_command)
    for program, target in zip(PROGRAMS, commands, strict=True):
        variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
        click.echo(kind(target, {}, program, variable).source())
