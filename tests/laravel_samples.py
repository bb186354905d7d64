"""Real outputs of artisan, as `laravel_samples.json` has them under the names here.

Each is what the version of laravel/framework in its name printed, without a terminal, for an application with these
tasks: `app:heartbeat every-minute`, `app:heartbeat broken --exit=3`, `app:heartbeat guarded --sleep=2`
(withoutOverlapping, in background), `app:heartbeat nightly` (03:15 in Europe/Berlin, described),
`echo one | tr o 0; exit 7` (exec), a closure named `closure-boom` that throws, an unnamed one that returns false, a
job; in some also a very long command, a closure that prints lines which look like results, a task on one server, a
task each 20 s.

- `run-*`: `schedule:run --no-ansi`; `-stderr` with `LOG_CHANNEL=stderr` (all frames but one of each trace cut),
  `-within-the-minute` with a task each 20 s; `idle-*`: the same without any task
- `list-*`: `schedule:list --no-ansi -v`, 8.83 without `-v`; `json-*`: with `--json`
- `locked-*`: the list, without `-v`, while the task in background ran; `empty-*`: without any task
"""

import json
from functools import cache
from pathlib import Path


@cache
def _samples() -> dict[str, str]:
    texts = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    assert isinstance(texts, dict)
    return texts


def sample(name: str) -> str:
    """Return an output, exactly as it was."""
    return _samples()[name]
