"""Which group may run on which host: orders become jobs as hosts offer what they need, and hosts pick among them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

RETRIES = 2  # times that a group is tried elsewhere after its host was lost
PART_STRIDE = 100  # parts of one executor set count on from these; memory may split each further


@dataclass(frozen=True)
class Offer:
    """A host as far as choosing goes. `kind` tells unlike machines apart, `host_id` is the exact fingerprint."""

    name: str
    executors: frozenset[str]
    kind: str
    host_id: str


@dataclass(frozen=True)
class Order:
    """A group that is to be measured once: on any host, or on one of a kind.

    `cells` by executor: those that still need a row. `executors`: the reference's and those with such cells.
    """

    group_id: str
    label: str
    reference: str
    cells: Mapping[str, tuple[str, ...]]
    expected_s: float
    kind: str | None = None

    @property
    def executors(self) -> frozenset[str]:
        return frozenset({self.reference, *self.cells})


@dataclass(eq=False)
class Job:
    """What one host gets: an order's cells on some executors. `owed` shrinks as cells come back."""

    order: Order
    executors: frozenset[str]
    host_id: str | None  # only hosts of this fingerprint, where an order had to be split
    part: int
    owed: set[str]
    lost: list[tuple[str, str]] = field(default_factory=list)  # node and what happened, for every attempt that failed

    @property
    def key(self) -> str:
        kind = f"-{self.order.kind[:8]}" if self.order.kind else ""
        return f"{self.order.group_id}{kind}-{self.part}"

    def fits(self, offer: Offer) -> bool:
        """Whether the host offers what it takes."""
        return (
            self.executors <= offer.executors
            and self.order.kind in (None, offer.kind)
            and self.host_id in (None, offer.host_id)
        )


@dataclass(frozen=True)
class Part:
    """Executors of an order that go together to one host."""

    executors: frozenset[str]
    host_id: str | None = None


def allot(order: Order, offers: Iterable[Offer], *, final: bool) -> tuple[list[Part], frozenset[str]] | None:
    """How an order is cut to what hosts offer: its parts, and the executors that none of them covers.

    Whole where one host offers everything. Otherwise None until waiting is over (`final`): then the host that covers
    most, and, for the rest, hosts with the same fingerprint; the reference runs in every part.
    """
    mine = [offer for offer in offers if order.kind in (None, offer.kind)]
    if any(order.executors <= offer.executors for offer in mine):
        return [Part(order.executors)], frozenset()
    if not final:
        return None
    left = set(order.executors - {order.reference})
    able = sorted((o for o in mine if order.reference in o.executors), key=lambda o: o.name)
    parts: list[Part] = []
    while able:
        best = max(able, key=lambda o: len(left & o.executors))
        covered = left & best.executors
        if parts and not covered:
            break
        parts.append(Part(frozenset({order.reference, *covered}), best.host_id))
        left -= covered
        # Parts are compared with each other, so they must not run on unlike hosts.
        able = [o for o in able if o.host_id == best.host_id]
    return parts, frozenset(left if parts else order.executors)


Bucket = tuple[frozenset[str], str | None, str | None]


class Board:
    """Orders that wait for hosts, and jobs that wait to be picked."""

    def __init__(self) -> None:
        self.waiting: list[Order] = []
        self._jobs: dict[Bucket, deque[Job]] = {}
        self._able: dict[Bucket, int] = {}  # hosts that could take a bucket's jobs
        self._stranded_s: dict[Bucket, float] = {}  # since when that is none
        self._offers: tuple[Offer, ...] = ()

    @property
    def empty(self) -> bool:
        """Nothing waits and nothing is to be picked."""
        return not self.waiting and not any(self._jobs.values())

    def hosts_are(self, offers: Sequence[Offer], now_s: float) -> None:
        """Hosts came or went."""
        self._offers = tuple(offers)
        self._able = {bucket: self._count(bucket) for bucket in self._jobs}
        self._stranded_s = {b: self._stranded_s.get(b, now_s) for b, able in self._able.items() if not able}

    def settle(self, *, final: bool) -> list[tuple[Order, frozenset[str]]]:
        """Make jobs of the orders that hosts can serve; returns those of which something never will be, and what."""
        if not self.waiting:
            return []
        left: list[Order] = []
        short: list[tuple[Order, frozenset[str]]] = []
        known: dict[tuple[frozenset[str], str, str | None], tuple[list[Part], frozenset[str]] | None] = {}
        for order in self.waiting:
            like = (order.executors, order.reference, order.kind)
            if like not in known:
                known[like] = allot(order, self._offers, final=final)
            allotted = known[like]
            if allotted is None:
                left.append(order)
                continue
            parts, missing = allotted
            for job in jobs_of(order, parts):
                self.put(job)
            if missing:
                short.append((order, missing))
        self.waiting = left
        return short

    def put(self, job: Job) -> None:
        """A job to be picked."""
        bucket = (job.executors, job.order.kind, job.host_id)
        if bucket not in self._jobs:
            self._jobs[bucket] = deque()
            self._able[bucket] = self._count(bucket)
        self._jobs[bucket].append(job)

    def pick(self, offer: Offer) -> Job | None:
        """The next job for a host: of those that fewest hosts can take, the first; not one it was lost on before.

        Unless no other host could take that one.
        """
        mine = [
            (self._able[bucket], -len(bucket[0]), number, jobs)
            for number, (bucket, jobs) in enumerate(self._jobs.items())
            if jobs and jobs[0].fits(offer)
        ]
        for *_, jobs in sorted(mine, key=lambda entry: entry[:3]):
            for job in jobs:
                tried = {name for name, _ in job.lost}
                if offer.name in tried and any(o.name not in tried and job.fits(o) for o in self._offers):
                    continue
                jobs.remove(job)
                return job
        return None

    def stranded(self, now_s: float, wait_s: float) -> list[Job]:
        """Take the jobs off the board that no host could take for `wait_s`."""
        found: list[Job] = []
        for bucket, able in self._able.items():
            if not able and now_s - self._stranded_s.setdefault(bucket, now_s) > wait_s:
                found += self._jobs[bucket]
                self._jobs[bucket].clear()
        return found

    def _count(self, bucket: Bucket) -> int:
        executors, kind, host_id = bucket
        return sum(
            executors <= o.executors and kind in (None, o.kind) and host_id in (None, o.host_id) for o in self._offers
        )


def jobs_of(order: Order, parts: Sequence[Part]) -> list[Job]:
    """One job a part; the reference's own row belongs to the first."""
    jobs = []
    for number, part in enumerate(parts):
        mine = part.executors if number == 0 else part.executors - {order.reference}
        owed = {cell for executor in mine for cell in order.cells.get(executor, ())}
        if owed:
            alone = None if len(parts) == 1 else part.host_id
            jobs.append(Job(order, part.executors, alone, number * PART_STRIDE, owed))
    return jobs
