"""The entry point: finds the command, and turns every error into one line, a hint and an exit code."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import TextIO

import click

from shiftboss.core.errors import ShiftbossError, UserError
from shiftboss.version import VERSION

EXIT_BUG = 70
EXIT_INTERRUPTED = 130

# command -> (module, one line of help); a module is imported only when its command runs or helps
COMMANDS = {
    "setup": ("cmd_setup", "Add or change a worker of a project."),
    "cron": ("cmd_cron", "Add or change a schedule of a project."),
    "plan": ("cmd_plan", "Show what apply would change."),
    "apply": ("cmd_apply", "Bring the server to what the project files say."),
    "remove": ("cmd_remove", "Remove a unit, or a project with all its units."),
    "status": ("cmd_status", "Show what runs, live."),
    "start": ("cmd_start", "Start workers."),
    "stop": ("cmd_stop", "Stop workers."),
    "restart": ("cmd_restart", "Restart workers and prove it: old and new pid."),
    "scale": ("cmd_scale", "Set how many processes a worker has."),
    "logs": ("cmd_logs", "Show or follow logs."),
    "history": ("cmd_history", "Show what happened: starts, ends with reasons, who asked."),
    "events": ("cmd_events", "Show what happens, as it happens."),
    "run": ("cmd_run", "Run a schedule now, and show what it does."),
    "pause": ("cmd_pause", "Let schedules not run for now."),
    "resume": ("cmd_resume", "Let paused schedules run again."),
    "why": ("cmd_why", "Tell what became of a schedule's run and why."),
    "top": ("cmd_top", "Show what the workers use, the busiest first."),
    "next": ("cmd_next", "Show what runs next, of all schedules."),
    "explain": ("cmd_explain", "Explain a cron expression in plain words."),
    "doctor": ("cmd_doctor", "Find what is wrong or will go wrong, with the mend."),
    "up": ("cmd_up", "Run the native backend in the foreground."),
    "service": ("cmd_service", "Run the native backend at boot, as a systemd service."),
    "project": ("cmd_project", "Register, list and forget projects."),
    "demo": ("cmd_demo", "Run a small complete example, and leave nothing behind."),
    "schema": ("cmd_schema", "Print the JSON schema of our files."),
    "completion": ("cmd_completion", "Print the completion script of a shell."),
}
# they change nothing: who has seen enough of them, by Ctrl-C or `| head`, is told nothing
_ONLY_LOOK = frozenset(
    {
        "plan",
        "status",
        "logs",
        "history",
        "events",
        "why",
        "top",
        "next",
        "explain",
        "doctor",
        "schema",
        "completion",
    }
)


class LazyGroup(click.Group):
    """A group that imports a command only when it is needed: a start stays cheap."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"shiftboss.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with a suggestion for a mistyped command."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from shiftboss.core.names import suggest  # brings msgspec with it

            raise UserError(
                f"unknown command '{args[0][:40]}'{suggest(args[0], COMMANDS)}", hint="See: shiftboss --help"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(VERSION, message="shiftboss %(version)s")
@click.option(
    "--config",
    metavar="FILE",
    help="The config.toml to use (default: $SHIFTBOSS_CONFIG, else the usual one).",
)
@click.pass_context
def cli(ctx: click.Context, config: str | None) -> None:
    """Background workers and scheduled tasks for every project on a server."""
    ctx.obj = config


def main() -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(cli, sys.argv[1:], "shiftboss"))


def run(command: click.Command, arguments: Sequence[str], name: str) -> int:
    """Run a command and return its exit code; the one place that catches everything."""
    _write_anything(sys.stdout, sys.stderr)
    try:
        return _result(command, arguments, name)
    except ShiftbossError as error:
        return _say(str(error), error.hint, error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help(), err=True)
        return 2
    except click.UsageError as error:
        return _say(_lowered(error.format_message()), _usage_hint(error), 2)
    except click.ClickException as error:
        return _say(_lowered(error.format_message()), "", 1)
    except (click.Abort, KeyboardInterrupt):
        return _interrupted(command, arguments)
    except BrokenPipeError:
        return _quiet_pipe(0 if _only_looks(command, arguments) else 1)
    except Exception as error:  # noqa: BLE001  # the boundary: a bug of ours, shown as one
        return _bug(error)


def _result(command: click.Command, arguments: Sequence[str], name: str) -> int:
    """Run a command; raise BrokenPipeError where nobody reads its output any more."""
    stdout = sys.stdout
    try:
        result = command.main(args=list(arguments), prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except SystemExit:
        if sys.stdout is stdout:  # click puts another in its place when nobody reads it, and ends
            raise
        raise BrokenPipeError from None
    return result if isinstance(result, int) else 0


def _write_anything(*streams: TextIO) -> None:
    """Let a terminal that lacks a character see its code: arguments and logs may hold any bytes."""
    for stream in streams:
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(message: str, hint: str, code: int) -> int:
    _print_error(f"error: {message}", "red")
    for line in hint.splitlines():
        _print_error(f"  {line}", None)
    return code


def _print_error(text: str, colour: str | None) -> None:
    from shiftboss.core.log_lines import harmless  # a message may name what a project wrote

    click.secho(harmless(text), err=True, fg=colour, color=False if os.environ.get("NO_COLOR") else None)


def _lowered(message: str) -> str:
    return (message[:1].lower() + message[1:]).rstrip(".")


def _usage_hint(error: click.UsageError) -> str:
    if error.ctx is None:
        return ""
    usage = " ".join(error.ctx.get_usage().split())
    return f"{usage}\nHelp: {error.ctx.command_path} --help"


def _interrupted(command: click.Command, arguments: Sequence[str]) -> int:
    if _only_looks(command, arguments):
        return EXIT_INTERRUPTED
    hint = "Run the same command again to finish what it began; shiftboss status shows how far it came."
    return _say("interrupted", hint, EXIT_INTERRUPTED)


def _only_looks(command: click.Command, arguments: Sequence[str]) -> bool:
    """Tell whether a command line changes nothing."""
    name = next((word for word in arguments if word in COMMANDS), None)
    return command is cli and (name is None or name in _ONLY_LOOK)


def _quiet_pipe(code: int) -> int:
    """Whoever read our output has seen enough (`shiftboss logs | head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _bug(error: Exception) -> int:
    if os.environ.get("SHIFTBOSS_DEBUG"):
        raise error
    place = _innermost(error)
    return _say(
        f"internal error ({type(error).__name__} in {place}): this is a fault of shiftboss",
        "Run it again with SHIFTBOSS_DEBUG=1 to see details, and please report them.",
        EXIT_BUG,
    )


def _innermost(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"
