"""Check that text files end with one newline and have no blanks at line ends and no carriage returns.

Without arguments every file of the checkout is read; `--fix` mends what it finds (and still exits 1,
as pre-commit expects of a hook that changed a file).
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
TEXT_SUFFIXES = {
    "", ".cfg", ".conf", ".css", ".editorconfig", ".gitattributes", ".gitignore", ".html", ".in", ".ini", ".js", ".lock", ".md", ".mk", ".php", ".py", ".rb", ".sh", ".toml", ".txt", ".yaml", ".yml",
}  # fmt: skip
NOT_OURS = {"node_modules", "__pycache__", "vendor", "build", "dist"}


def text_files(top: Path) -> Iterator[Path]:
    """Yield the text files below `top`, without hidden directories (but `.ci`) and other people's code."""
    for path in sorted(top.iterdir()):
        if path.is_symlink():
            continue
        if path.is_dir():
            if path.name not in NOT_OURS and (not path.name.startswith(".") or path.name == ".ci"):
                yield from text_files(path)
        elif path.suffix in TEXT_SUFFIXES:
            yield path


def mended(content: bytes) -> bytes:
    """Return `content` as it should be."""
    lines = [line.rstrip(b" \t\r") for line in content.split(b"\n")]
    text = b"\n".join(lines).rstrip(b"\n")
    return text + b"\n" if text else b""


def main() -> int:
    """Return 1 if a file was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fix", action="store_true")
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    bad = 0
    for path in options.files or text_files(CHECKOUT):
        content = path.read_bytes()
        if b"\0" in content or content == mended(content):
            continue
        bad = 1
        print(f"{path}: blanks or carriage returns at a line end, or not one newline at the end of the file")
        if options.fix:
            path.write_bytes(mended(content))
    return bad


if __name__ == "__main__":
    sys.exit(main())
