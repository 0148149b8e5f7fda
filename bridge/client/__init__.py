"""A client of push-bridge for asyncio; it needs nothing but `websockets`.

    from bridge.client import Client, Event, Gap

    async with Client("https://push.example", token=fetch_token) as client:
        async for item in client:
            match item:
                case Event(type="order.shipped", data=order): ...
                case Gap(topic=topic): ...

It comes back by itself, resumes where the user was, and drops duplicates. The rule kept here: this
package imports nothing of the rest of `bridge`.
"""

from bridge.client.client import Client
from bridge.client.errors import ClientError, Refused, Rejected
from bridge.client.items import (
    Connected,
    Disconnected,
    Event,
    Gap,
    Item,
    Live,
    Rooms,
    Subscription,
    Warned,
)
from bridge.client.options import Token
from bridge.client.states import State

__all__ = [
    "Client",
    "ClientError",
    "Connected",
    "Disconnected",
    "Event",
    "Gap",
    "Item",
    "Live",
    "Refused",
    "Rejected",
    "Rooms",
    "State",
    "Subscription",
    "Token",
    "Warned",
]
