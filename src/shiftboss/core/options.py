"""The options of a preset: values checked, filled from what is known of the release, and put into words."""

import shlex
from collections.abc import Iterable, Mapping

from shiftboss.core.errors import UserError
from shiftboss.core.names import suggest
from shiftboss.core.preset import PLACEHOLDER, Option, Preset, Value
from shiftboss.core.release import Guess, ReleaseFacts, printable

Values = Mapping[str, Value]

_EXPECTED = {
    "string": "text in quotes",
    "words": "words in quotes",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def option_values(
    given: Values, preset: Preset, facts: ReleaseFacts, context: Mapping[str, str], where: str
) -> dict[str, Value]:
    """Return the value of every option that has one: given in the project file, worked out, or the default.

    An empty text in the project file takes a value away. Raises UserError for an option that the preset
    does not have and for a value that is out of its type, bounds or choices.
    """
    for name, value in given.items():
        _check(name, value, preset, f"{where}.options.{printable(name)}")
    values: dict[str, Value] = {}
    for name, option in preset.options.items():
        known = given[name] if name in given else _known(option, facts, context)
        if known is not None and known != "":
            values[name] = known
    _check_order(values, preset, where)
    return values


def _check_order(values: Values, preset: Preset, where: str) -> None:
    """Refuse a number that must be less than another and is not."""
    for name, option in preset.options.items():
        less, more = values.get(name), values.get(option.below)
        if isinstance(less, int | float) and isinstance(more, int | float) and not less < more:
            raise UserError(
                f"{less:g} is not less than options.{option.below} ({more:g}): {option.below_why}",
                where=f"{where}.options.{name}",
                hint=f"Make {option.below} longer or {name} shorter.",
            )


def _check(name: str, value: Value, preset: Preset, where: str) -> None:
    option = preset.options.get(name)
    if option is None:
        known = ", ".join(sorted(preset.options))
        hint = (
            f"Its options: {known}." if known else "It has no options; write what you need into the command."
        )
        raise UserError(
            f"{preset.name} has no such option{suggest(name, preset.options)}", where=where, hint=hint
        )
    if not _is_of_type(value, option):
        raise UserError(
            f"must be {_EXPECTED[option.type]}, not {value!r:.60}", where=where, hint=_described(option)
        )
    problem = _out_of_bounds(value, option)
    if problem:
        raise UserError(problem, where=where, hint=_described(option))


def _described(option: Option) -> str:
    return f"{option.help}."


def _is_of_type(value: Value, option: Option) -> bool:
    if option.type == "boolean":
        return isinstance(value, bool)
    if option.type == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if option.type == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)


def _out_of_bounds(value: Value, option: Option) -> str:
    """Say what is wrong with a value of the right type, nothing if it is fine."""
    if isinstance(value, str):
        return _wrong_text(value, option)
    if option.min is not None and not value >= option.min:  # so that NaN is refused too
        return f"must be at least {option.min:g}"
    if option.max is not None and not value <= option.max:
        return f"must be at most {option.max:g}"
    return ""


def _wrong_text(value: str, option: Option) -> str:
    if not value.isprintable():
        return "contains a control character"
    if option.choices and value and value not in option.choices:
        return f"must be one of {', '.join(option.choices)}{suggest(value, option.choices)}"
    if option.type == "words":
        try:
            shlex.split(value)
        except ValueError as error:
            return f"cannot be split into words: {error}"
    return ""


def _known(option: Option, facts: ReleaseFacts, context: Mapping[str, str]) -> Value | None:
    """Return what the release tells about an option if it is a legal value, else the default."""
    guessed = _guessed(option, facts)
    value = _converted(guessed.value, option) if guessed else None
    if value is not None and not _out_of_bounds(value, option):
        return value
    return fill(option.default, context) if isinstance(option.default, str) else option.default


def _guessed(option: Option, facts: ReleaseFacts) -> Guess | None:
    if option.guess.startswith("env."):
        value = facts.env.get(option.guess.removeprefix("env."))
        return Guess(value, ".env") if value is not None else None
    return facts.guesses.get(option.guess)


def _converted(text: str, option: Option) -> Value | None:
    if option.type in {"string", "words"}:
        return text
    digits = text.isascii() and text.isdigit() and len(text) <= 9
    return int(text) if digits and option.type != "boolean" else None


def fill(text: str, values: Values) -> str:
    """Return a text with its placeholders replaced; every one of them must have a value."""
    return PLACEHOLDER.sub(lambda match: str(values[match[1]]), text)


def used_in(texts: Iterable[str]) -> frozenset[str]:
    """Return the names of all placeholders in some texts."""
    return frozenset(name for text in texts for name in PLACEHOLDER.findall(text))


def filled_word(word: str, values: Values, options: Mapping[str, Option]) -> tuple[str, ...]:
    """Return what a word of a template becomes: no word if an option in it has no value, else one or several."""
    names = PLACEHOLDER.findall(word)
    if any(name not in values for name in names):
        return ()
    if not names or word != f"{{{names[0]}}}":
        return (fill(word, values),)
    value, option = values[names[0]], options.get(names[0])
    if option is not None and option.type == "boolean":
        return (option.flag,) if value else ()
    if option is not None and option.type == "words":
        return tuple(shlex.split(str(value)))
    return (str(value),)
