"""Put a job on the queue: enqueue.py NAME SECONDS."""

import sys

from jobs import work
from redis import Redis
from rq import Queue
from settings import REDIS_URL

Queue(connection=Redis.from_url(REDIS_URL)).enqueue(work, sys.argv[1], float(sys.argv[2]))
