"""A client of push-bridge for asyncio; its only dependency is `websockets`.

    from bridge.client import Client, Event, Gap

    async with Client("https://push.example", token=fetch_token) as client:
        async for item in client:
            match item:
                case Event(type="order.shipped", data=order): ...
                case Gap(topic=topic): ...

It reconnects by itself, resumes behind the last item that was taken, and drops duplicates. Rule:
this package imports nothing else of `bridge`.
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
