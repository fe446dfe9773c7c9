"""Passes the name of the global transaction on: from the request into SQL and into calls. The service needs no more than this.

The name is opaque, and there is none when nobody has begun a global transaction.
"""

from contextvars import ContextVar
from urllib.parse import quote

import httpx
from fastapi import FastAPI, Request
from sqlalchemy import Engine, event

HEADER = "atomesh-gid"

_gid: ContextVar[str | None] = ContextVar("gid", default=None)


def install(app: FastAPI, engine: Engine) -> None:
    @app.middleware("http")
    async def remember(request: Request, call_next):
        _gid.set(request.headers.get(HEADER))
        return await call_next(request)

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def comment(conn, cursor, statement, parameters, context, executemany):
        if gid := _gid.get():
            # Quoted, so that it cannot end the comment; the driver reads a lone percent sign as a place-holder.
            name = quote(gid, safe="/:{}").replace("%", "%%")
            statement += f" /*atomesh_gid='{name}'*/"
        return statement, parameters


def pass_on(request: httpx.Request) -> None:
    """An event hook of httpx."""
    if gid := _gid.get():
        request.headers[HEADER] = gid
