"""Nodes as the coordinator keeps them, and what it says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from lynxbench.sweep.fleet.node import NodeInfo
from lynxbench.sweep.fleet.orders import Job, Offer, Order
from lynxbench.sweep.fleet.view import HostView
from lynxbench.sweep.rows import host_id

GIB = 1 << 30
NAMED_HOSTS = 20  # in a row's reason


@dataclass(eq=False)
class Host:
    """A node that is there."""

    address: str
    info: NodeInfo
    offer: Offer
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    job: Job | None = None
    doing: str = ""
    share: float = 0.0


def offer_of(info: NodeInfo) -> Offer:
    """How a node looks to the board. Like machines differ by a few pages of memory, which makes no other kind."""
    rounded = replace(info.host, memory_bytes=round(info.host.memory_bytes / GIB) * GIB)
    return Offer(info.name, info.offers, host_id(rounded), host_id(info.host))


def view_of(host: Host) -> HostView:
    """A line of the live view."""
    return HostView(host.info.name, None if host.job is None else host.job.order.label, host.doing, host.share)


def nobody_offers(order: Order, missing: frozenset[str], asked: Iterable[NodeInfo], wait_s: float) -> str:
    """Why cells are unavailable: what no host offers, and who was asked."""
    names = [
        f"{info.name} ({', '.join(sorted(info.offers)) or 'none'})"
        for info in sorted(asked, key=lambda info: info.name)
        if order.kind in (None, offer_of(info).kind)
    ]
    more = f" and {len(names) - NAMED_HOSTS} more" if len(names) > NAMED_HOSTS else ""
    beside = "" if order.reference in missing else f" beside the reference's {order.reference}"
    return (
        f"no host{'' if order.kind is None else ' of this kind'} offers {', '.join(sorted(missing))}{beside}; "
        f"asked within {wait_s:g} s: {', '.join(names[:NAMED_HOSTS])}{more}"
    )
