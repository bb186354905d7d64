"""A WSGI application: /?seconds=N answers after N seconds."""

import os
import time

import bottle

app = bottle.Bottle()


@app.get("/")
def answer() -> dict[str, int]:
    """Answer with the process and the user that did it."""
    time.sleep(float(bottle.request.query.seconds or 0))
    return {"pid": os.getpid(), "uid": os.getuid()}
