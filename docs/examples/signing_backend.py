"""Your backend's part: it signs the tokens with which its users go to the bridge.

    PUSH_SECRET=... uvicorn --app-dir docs/examples signing_backend:app

`PUSH_SECRET` is the bridge's `BRIDGE_AUTH__SECRET`. The login here stands for your own.
A client's token callback asks `/push-token` whenever it needs one:

    const client = createClient(url, { token: async () =>
      (await (await fetch("/push-token", { method: "POST" })).json()).token });

The rule kept here: the account comes from the session, never from the request, and so do the rooms.
"""

from __future__ import annotations

import hmac
import os
import secrets
import time
from typing import Annotated

import jwt
from fastapi import Cookie, Depends, FastAPI, HTTPException, Response
from pydantic import BaseModel

LIFETIME = 900  # seconds, for which somebody may still read after you have changed your mind
USERS = {"alice": "wonderland", "bob": "builder"}  # yours are in a database, and hashed
ROOMS = {"alice": ["order:*"], "bob": ["order:42", "news"]}

app = FastAPI(title="Your backend")
sessions: dict[str, str] = {}


class Login(BaseModel):
    """What a user types."""

    name: str
    password: str


class PushToken(BaseModel):
    """What a client gives to the bridge."""

    token: str
    expires_in: int


def account(session: Annotated[str, Cookie()] = "") -> str:
    """Who is asking, by the cookie."""
    if (name := sessions.get(session)) is None:
        raise HTTPException(401, "not logged in")
    return name


@app.post("/login", status_code=204)
def login(told: Login, response: Response) -> None:
    """Begin a session."""
    expected = USERS.get(told.name, secrets.token_hex())
    if not hmac.compare_digest(expected.encode(), told.password.encode()):
        raise HTTPException(403, "wrong name or password")
    session = secrets.token_urlsafe()
    sessions[session] = told.name
    response.set_cookie("session", session, httponly=True, secure=True, samesite="strict")


@app.post("/logout", status_code=204)
def logout(session: Annotated[str, Cookie()] = "") -> None:
    """End a session; `POST /v1/accounts/{account}/revoke` at the bridge ends its connections."""
    sessions.pop(session, None)


@app.post("/push-token")
def push_token(name: Annotated[str, Depends(account)], response: Response) -> PushToken:
    """Sign a token for whoever is logged in."""
    response.headers["Cache-Control"] = "no-store"
    now = int(time.time())
    claims = {"sub": name, "iat": now, "exp": now + LIFETIME, "rooms": ROOMS.get(name, [])}
    token = jwt.encode(claims, os.environ["PUSH_SECRET"], algorithm="HS256")
    return PushToken(token=token, expires_in=LIFETIME)
