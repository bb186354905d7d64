"""Settings of `rq worker`."""

import os

REDIS_URL = f"unix://{os.environ['REDIS_SOCKET']}"
