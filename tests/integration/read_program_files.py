"""Read program files with the Supervisor of this interpreter, as included files; for another Python than the tests'.

Reads a JSON list of paths of program files from stdin, prints a JSON list of [version, words, variables].
"""

import json
import os
import sys
import tempfile

from supervisor.options import VERSION, ServerOptions
from supervisor.process import Subprocess


def read(path: str) -> list[object]:
    with tempfile.TemporaryDirectory() as directory:
        main = os.path.join(directory, "supervisord.conf")
        with open(main, "w") as file:
            file.write(f"[supervisord]\nlogfile={directory}/log\n[include]\nfiles={path}\n")
        options = ServerOptions()
        options.here = directory
        (group,) = options.read_config(main).process_group_configs
    process = group.process_configs[0]
    return [VERSION, Subprocess(process).get_execv_args()[1], process.environment]


json.dump([read(path) for path in json.load(sys.stdin)], sys.stdout)
