"""Put a task on the queue: enqueue.py NAME SECONDS."""

import sys

from tasks import work

work.delay(sys.argv[1], float(sys.argv[2]))
