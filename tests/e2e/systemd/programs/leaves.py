"""Tries to move itself out of its cgroup, and to change what bounds it there; tells how many it tried, and which gave way."""

import glob
import json
import time

FILES = (
    "cgroup.procs",
    "cgroup.threads",
    "tasks",
    "memory.max",
    "memory.limit_in_bytes",
    "cgroup.subtree_control",
)
tried = [path for name in FILES for path in glob.glob(f"/sys/fs/cgroup/**/{name}", recursive=True)]
done = []
for path in tried:
    try:
        with open(path, "w") as file:
            file.write("0")
        done.append(path)
    except OSError:
        pass
print(json.dumps([len(tried), done]), flush=True)
time.sleep(86399)
