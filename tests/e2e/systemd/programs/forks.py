"""Takes as many processes as it gets, tells how many, and keeps them."""

import os
import time

made = 0
try:
    while made < 100:
        if os.fork() == 0:
            time.sleep(86399)
            os._exit(0)
        made += 1
except BlockingIOError:
    print(made, "children", flush=True)
time.sleep(86399)
