"""The reference page of the presets, from their TOML files."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shiftboss.core.preset import Condition, Option, Preset

GENERATED = "<!-- Made by `make docs` from the code. Change the code, not this page. -->\n"
HEAD = """
# Presets

A preset makes a worker or a schedule from what is found in a project. `shiftboss setup PROJECT PRESET` uses one;
without a kind, `shiftboss setup PROJECT` proposes those that fit. Options go under `[workers.NAME.options]` or
`[schedules.NAME.options]` of the project file.

"not verified" means: written from the program's documentation, not yet run by our tests.
"""
PRESETS = Path(__file__).resolve().parent.parent / "src/shiftboss/presets"


def page(directory: Path = PRESETS) -> str:
    """Return the whole page, for the preset files of a directory."""
    import tomllib

    from shiftboss.core.preset import read_preset

    files = sorted(directory.glob("*.toml"))
    presets = [read_preset(file.stem, tomllib.loads(file.read_text(encoding="utf-8"))) for file in files]
    presets.sort(key=lambda preset: (preset.kind == "schedule", preset.name))
    parts = [GENERATED + HEAD.rstrip("\n"), _overview(presets), *("\n\n".join(_section(p)) for p in presets)]
    return "\n\n".join(parts) + "\n"


def _overview(presets: "list[Preset]") -> str:
    rows = [
        f"| [{p.name}](#{_anchor(p.name)}) | {p.kind} | {_cell(p.summary)} | {'yes' if p.verified else 'not verified'} |"
        for p in presets
    ]
    return "\n".join(["| preset | makes a | for | run by our tests |", "| --- | --- | --- | --- |", *rows])


def _section(preset: "Preset") -> Iterator[str]:
    yield f"## {preset.name}"
    unverified = "" if preset.verified else " Not verified: written from the documentation."
    yield f"{_small(preset.summary)}.{unverified}"
    yield "\n".join(f"- {line}" for line in _facts(preset))
    if preset.options:
        head = ["| option | value | default | meaning |", "| --- | --- | --- | --- |"]
        yield "\n".join([*head, *(_option(name, option) for name, option in preset.options.items())])


def _facts(preset: "Preset") -> Iterator[str]:
    if preset.aliases:
        yield f"also called: {_codes(preset.aliases)}"
    yield from _commands(preset)
    yield f"name of the {preset.kind} by default: `{preset.unit}`"
    if preset.cron:
        yield f"runs: `{preset.cron}`"
    if preset.detect:
        yield f"proposed when: {'; or '.join(condition(c) for c in preset.detect)}"
    if preset.kind == "worker":
        yield f"processes: {preset.processes}{f', never more: {_small(preset.singleton)}' if preset.singleton else ''}"
        yield _stop(preset)
    yield from (
        f"exit status {code}: {_small(meaning)}" for code, meaning in sorted(preset.exit_codes.items())
    )
    if preset.environment:
        yield f"environment: {_codes(f'{key}={value}' for key, value in preset.environment.items())}"
    yield from (f"beware: {_small(caution.text)}" for caution in preset.cautions)
    yield from _after_deploy(preset)
    yield f"source: {_small(preset.source)}"


def _commands(preset: "Preset") -> Iterator[str]:
    if preset.command:
        yield f"command: `{shown(preset.command)}`"
    for variant in preset.variants:
        yield f"command when {condition(variant.when)}: `{shown(variant.command)}`"


def shown(words: tuple[str, ...]) -> str:
    """Return a command for reading: placeholders are left as they are, other words are quoted where needed."""
    return " ".join(word if re.search(r"\{\w+\}", word) else shlex.quote(word) for word in words)


def _stop(preset: "Preset") -> str:
    rule = preset.stop
    wait = f"{rule.margin} s" if not rule.options else f"{_codes(rule.options)} + {rule.margin} s"
    usual = f" ({rule.default} s if they are not set)" if rule.options and rule.default is not None else ""
    whom = "the main process" if rule.scope == "main" else "its whole process group"
    return f"stopped by SIG{rule.signal} to {whom}, by SIGKILL after {wait}{usual}"


def _after_deploy(preset: "Preset") -> Iterator[str]:
    after = {"none": "nothing", "rolling": "a restart, one process after the other", "restart": "a restart"}
    note = f" ({_small(preset.deploy.note)})" if preset.deploy.note else ""
    yield f"a deploy needs: {after[preset.deploy.action]}{note}"
    for command in preset.deploy.commands:
        yield f"a deploy also runs: `{shown(command)}`"


def condition(when: "Condition") -> str:
    """Return in words what must hold."""
    return ", ".join(_conditions(when)) or "always"


def _conditions(when: "Condition") -> Iterator[str]:
    if when.files:
        yield f"{_codes(when.files)} {'exists' if len(when.files) == 1 else 'exist'}"
    if when.any_file:
        yield f"{_codes(when.any_file, 'or')} exists"
    for language in ("php", "npm", "python", "ruby"):
        if packages := getattr(when, language):
            yield f"{_codes(packages, 'or')} is a dependency ({language})"
    if when.guesses:
        yield f"known: {', '.join(when.guesses)}"
    if when.no_guesses:
        yield f"not known: {', '.join(when.no_guesses)}"
    yield from (f"`{key}` in .env is {_codes(values, 'or')}" for key, values in when.env.items())
    yield from (f"`{key}` in .env is not {_codes(values, 'or')}" for key, values in when.env_not.items())


def _option(name: str, option: "Option") -> str:
    default = (
        ""
        if option.default is None
        else f"`{str(option.default).lower() if option.type == 'boolean' else option.default}`"
    )
    default = "required" if option.required else default or (f"from `{option.guess}`" if option.guess else "")
    return f"| `{name}` | {_value(option)} | {_cell(default)} | {_cell(option.help)} |"


def _value(option: "Option") -> str:
    if option.choices:
        return _cell(_codes(option.choices, "or"))
    kinds = {
        "string": "text",
        "words": "words",
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
    }
    bounds = [f"from {option.min:g}"] if option.min is not None else []
    bounds += [f"to {option.max:g}"] if option.max is not None else []
    return " ".join([kinds[option.type], *bounds])


def _codes(words: "Iterator[str] | tuple[str, ...]", last: str = "and") -> str:
    quoted = [f"`{word}`" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w-]", "", heading)


def _small(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
