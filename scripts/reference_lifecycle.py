"""The page about the life of a process: drawn from the table in core/lifecycle.py."""

from shiftboss.core.lifecycle import EVENTS, RESTING, TABLE, State

HEAD = """\
# The life of a process

<!-- Generated from src/shiftboss/core/lifecycle.py by make docs; do not edit. -->

What somebody wants (up or down) is kept apart from the state: a process can be STOPPING and wanted up, then it
starts again when everything of its present run is gone. In {resting} nothing of it lives.

"""


def diagram() -> str:
    """Return the transitions that change the state, as mermaid."""
    edges: dict[tuple[State, State], list[str]] = {}
    for state, rows in TABLE.items():
        for event, row in rows.items():
            for target in row.to:
                if target is not state:
                    edges.setdefault((state, target), []).append(event.__name__)
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> STOPPED"]
    lines += [f"    {a.value} --> {b.value}: {', '.join(names)}" for (a, b), names in edges.items()]
    return "\n".join([*lines, "```", ""])


def meanings() -> str:
    """Return what each event means, from its docstring."""
    rows = [f"| {event.__name__} | {_sentence(event)} |" for event in EVENTS]
    return "\n".join(["| event | meaning |", "| --- | --- |", *rows, ""])


def table() -> str:
    """Return every (state, event) pair: what is done, and where it can lead."""
    head = ["state", *(event.__name__ for event in EVENTS)]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for state, rows in TABLE.items():
        cells = [_cell(state, rows[event].act.__name__, rows[event].to) for event in EVENTS]
        lines.append(f"| {' | '.join([state.value, *cells])} |")
    return "\n".join([*lines, ""])


def _cell(state: State, act: str, to: tuple[State, ...]) -> str:
    if act == "_ignore":
        return "·"
    words = act.strip("_").replace("_", " ")
    targets = [target.value for target in to if target is not state]
    return f"{words} → {', '.join(targets)}" if targets else words


def _sentence(event: type) -> str:
    return " ".join((event.__doc__ or "").split())


def page() -> str:
    """Return the whole page."""
    resting = ", ".join(state.value for state in State if state in RESTING)
    parts = [
        HEAD.format(resting=resting),
        diagram(),
        "\n## Events\n\n",
        meanings(),
        "\n## Every state and event\n\n`·` means: nothing changes.\n\n",
        table(),
    ]
    return "".join(parts)
