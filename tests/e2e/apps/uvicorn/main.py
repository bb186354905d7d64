"""An ASGI application: /?seconds=N answers after N seconds."""

import asyncio
import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def answer(request: Request) -> JSONResponse:
    """Answer with the process and the user that did it."""
    seconds = float(request.query_params.get("seconds", 0))
    print(f"working {seconds} s", flush=True)
    await asyncio.sleep(seconds)
    return JSONResponse({"pid": os.getpid(), "uid": os.getuid()})


app = Starlette(routes=[Route("/", answer)])
