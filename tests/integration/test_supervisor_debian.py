"""Program files as Debian's Supervisor 4.2.5 reads them, on Debian's own Python."""

import json
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from shiftboss.backends.supervisor_conf import program_of, render
from shiftboss.core.errors import UserError
from shiftboss.core.spec import Worker
from tests.supervisor_programs import ENVIRONMENTS, WORDS, worker
from tests.supervisord import DEBIAN_PYTHON

READER = Path(__file__).parent / "read_program_files.py"
WORKERS = st.lists(st.builds(worker, WORDS, ENVIRONMENTS), min_size=20, max_size=40)


@given(workers=WORKERS)
@settings(max_examples=10, deadline=None)
def test_words_and_variables_arrive_as_written_at_4_2_5(workers: list[Worker]) -> None:
    plain = worker(("/bin/sh", "a ; b", "%(here)s"), (("KEY", "x # 100%"),))
    meant = [program_of(unit, system=True) for unit, _ in rendered([plain, *workers])]
    with TemporaryDirectory() as directory:
        paths = list(written(directory, (text for _, text in rendered([plain, *workers]))))
        read = read_by_debian(paths)
    assert [words for _, words, _ in read] == [list(program.argv) for program in meant]
    assert [variables for _, _, variables in read] == [dict(program.environment) for program in meant]
    assert all(version.startswith("4.2.") for version, _, _ in read)


def rendered(workers: Iterable[Worker]) -> Iterator[tuple[Worker, str]]:
    """Yield the workers that can be written at all, and their texts."""
    for unit in workers:
        try:
            yield unit, render(unit, system=True)
        except UserError:
            continue


def written(directory: str, texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        path = Path(directory) / f"{number}.conf"
        path.write_text(text, encoding="utf-8")
        yield str(path)


def read_by_debian(paths: list[str]) -> list[tuple[str, list[str], dict[str, str]]]:
    answer = subprocess.run(
        [DEBIAN_PYTHON, str(READER)], input=json.dumps(paths), capture_output=True, text=True, check=True
    )
    return json.loads(answer.stdout)
