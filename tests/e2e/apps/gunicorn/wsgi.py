"""A WSGI application: /?seconds=N answers after N seconds."""

import os
import time

import bottle

app = bottle.Bottle()


@app.get("/")
def answer() -> dict[str, int]:
    """Answer with the process and the user that did it."""
    seconds = float(bottle.request.query.seconds or 0)
    print(f"working {seconds} s", flush=True)
    time.sleep(seconds)
    return {"pid": os.getpid(), "uid": os.getuid()}
