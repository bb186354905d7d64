"""The documents of the checkout, and what they show: fenced blocks, commands in them, links, headings."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAMS = ("shiftboss", "setup-supervisor", "setup-cron")
_FENCE = re.compile(r"^(?P<mark>```+)(?P<language>\w*)\n(?P<text>.*?)^(?P=mark)$", re.M | re.S)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"(?<!!)\[(?:[^\]\[]|`[^`]*`)*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.M)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*")


@dataclass(frozen=True)
class Block:
    """A fenced block: its document (path in the checkout), its line, its language and its text."""

    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Shown:
    """A command line of ours that a document shows, its words after the program, and what follows it there."""

    place: str
    program: str
    words: tuple[str, ...]
    output: str = ""


def documents() -> list[Path]:
    """Return all documents of the checkout."""
    top, below = CHECKOUT.glob("*.md"), (CHECKOUT / "docs").rglob("*.md")
    return sorted([*top, *below, *(CHECKOUT / "examples").rglob("*.md")])


def name_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def blocks(path: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a document."""
    text = path.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(name_of(path), line, found["language"], found["text"])


def prose(path: Path) -> str:
    """Return a document without its fenced blocks."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def command_lines(block: Block) -> Iterator[tuple[str, str]]:
    """Yield each command line of a block with the output that follows it (`console`) or none (`sh`)."""
    if block.language == "console":
        for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
            line, _, output = part.partition("\n")
            yield line, output.rstrip("\n")
    elif block.language == "sh":
        yield from ((line, "") for line in block.text.replace("\\\n", " ").splitlines())


def commands_in(line: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield program and words of each command of ours in a line of shell."""
    words: list[str] = []
    for word in [*_shell_words(line), ";"]:
        if not re.fullmatch(r"[;&|()<>]+", word):
            words.append(word)
            continue
        while words and (_ASSIGNMENT.fullmatch(words[0]) or words[0] == "sudo"):
            del words[0]
        if words and words[0] in PROGRAMS:
            yield words[0], tuple(words[1:])
        words = []


def _shell_words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def shown_commands(path: Path) -> Iterator[Shown]:
    """Yield the commands of ours in the fenced blocks of a document."""
    for block in blocks(path):
        for line, output in command_lines(block):
            for program, words in commands_in(line):
                yield Shown(f"{block}: {line}", program, words, output)


def inline_commands(path: Path) -> Iterator[Shown]:
    """Yield what stands as `code` in running text and begins like a command of ours."""
    for code in _INLINE.findall(prose(path)):
        for program, words in commands_in(code) if code.startswith(PROGRAMS) else ():
            yield Shown(f"{name_of(path)}: {code}", program, words)


def inline_code(path: Path) -> list[str]:
    return _INLINE.findall(prose(path))


def links(path: Path) -> list[str]:
    """Return the targets of the links of a document."""
    return _LINK.findall(prose(path))


def anchors(path: Path) -> set[str]:
    """Return the anchors of the headings of a document, as code hosts make them."""
    titles = (re.sub(r"[`*]", "", title) for title in _HEADING.findall(prose(path)))
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}
