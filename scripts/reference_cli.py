"""Reference pages of a click command tree, in the order of a man page."""

import inspect
import re
from collections.abc import Iterator, Mapping

import click

GENERATED = "<!-- Made by `make docs` from the code. Change the code, not this page. -->\n"
EXIT_STATUS = [
    ("0", "done"),
    ("1", "the machine or a backend refused; the message says what and why"),
    ("2", "wrong usage or configuration; nothing was changed"),
    (
        "3",
        "not as desired (`status`: something that should run does not; `plan --check`: there are differences)",
    ),
    ("70", "a bug of shiftboss"),
    ("130", "interrupted"),
]


def pages(programs: Mapping[str, click.Command]) -> dict[str, str]:
    """Return one page for each program and each of its commands, and README.md as their index."""
    made: dict[str, str] = {}
    rows = []
    for name, program in programs.items():
        for context in _walk(program, click.Context(program, info_name=name, **program.context_settings)):
            file = f"{context.command_path.replace(' ', '-')}.md"
            made[file] = _page(context)
            rows.append(f"| [`{context.command_path}`]({file}) | {_cell(_summary(context.command))} |")
    index = "\n".join(["| command | does |", "| --- | --- |", *rows])
    made["README.md"] = f"{GENERATED}\n# Commands\n\n{index}\n\n{_exit_status()}"
    return made


def _walk(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    if command.hidden:
        return
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from _walk(child, click.Context(child, info_name=name, parent=context))


def _page(context: click.Context) -> str:
    command = context.command
    parts = [
        GENERATED + f"\n# {context.command_path}",
        f"## NAME\n\n{context.command_path} - {_summary(command).rstrip('.')}",
        f"## SYNOPSIS\n\n    {_synopsis(context)}",
        f"## DESCRIPTION\n\n{_description(command)}",
        _commands(context),
        _arguments(context),
        _options(context),
        _exit_status().rstrip("\n"),
        _examples(command),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _synopsis(context: click.Context) -> str:
    return " ".join([context.command_path, *context.command.collect_usage_pieces(context)])


def _summary(command: click.Command) -> str:
    first = _help(command).partition("\n\n")[0]
    return " ".join((command.short_help or first).split())


def _help(command: click.Command) -> str:
    # click cuts the text of --help at a form feed; \b keeps a paragraph's lines as they are
    return inspect.cleandoc(command.help or "").partition("\f")[0].strip()


def _description(command: click.Command) -> str:
    paragraphs = re.split(r"\n[ \t]*\n", _help(command))
    return "\n\n".join(_paragraph(text) for text in paragraphs if text.strip())


def _paragraph(text: str) -> str:
    lines = text.splitlines()
    if lines[0].strip() != "\b":
        return text
    return "\n".join(f"    {line}" for line in lines[1:])


def _commands(context: click.Context) -> str:
    if not isinstance(context.command, click.Group):
        return ""
    rows = []
    for child in _walk(context.command, context):
        if child.parent is context:
            file = f"{child.command_path.replace(' ', '-')}.md"
            rows.append(f"- [`{child.info_name}`]({file}): {_summary(child.command)}")
    return "## COMMANDS\n\n" + "\n".join(rows)


def _arguments(context: click.Context) -> str:
    rows = []
    for parameter in context.command.get_params(context):
        text = _argument(parameter) if isinstance(parameter, click.Argument) else ""
        if text:
            rows.append(f"- `{parameter.human_readable_name.upper()}`: {text}")
    return "## ARGUMENTS\n\n" + "\n".join(rows) if rows else ""


def _argument(argument: click.Argument) -> str:
    # click has taken a help text for arguments since 8.3
    parts = [_flat(getattr(argument, "help", None) or "")]
    if isinstance(argument.type, click.Choice):
        parts.append("one of " + ", ".join(f"`{choice}`" for choice in argument.type.choices))
    return "; ".join(part for part in parts if part)


def _options(context: click.Context) -> str:
    options = [p for p in context.command.get_params(context) if isinstance(p, click.Option)]
    records = [record for option in options if (record := option.get_help_record(context))]
    return "## OPTIONS\n\n" + "\n".join(f"- `{names}`: {_flat(text)}" for names, text in records)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _exit_status() -> str:
    rows = "\n".join(f"- `{code}`: {meaning}" for code, meaning in EXIT_STATUS)
    return f"## EXIT STATUS\n\n{rows}\n"


def _examples(command: click.Command) -> str:
    text = inspect.cleandoc(command.epilog or "")
    lines = [
        line
        for line in text.splitlines()
        if line.strip() and line.strip() not in {"\b", "Examples:", "Example:"}
    ]
    return "## EXAMPLES\n\n" + "\n".join(f"    {line.strip()}" for line in lines) if lines else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
