"""Which group goes to which host, without any host."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lynxbench.sweep.fleet.orders import Board, Job, Offer, Order, Part, allot, jobs_of


def offer(name: str, *executors: str, kind: str = "k", host_id: str = "h") -> Offer:
    return Offer(name, frozenset(executors), kind, host_id)


def order(*executors: str, kind: str | None = None, group: str = "g") -> Order:
    cells = {name: (f"{group}-{name}-1", f"{group}-{name}-2") for name in executors}
    return Order(group, group, "cpu", cells, 1.0, kind)


def board(orders: list[Order], offers: list[Offer]) -> Board:
    made = Board()
    made.waiting = orders
    made.hosts_are(offers, 0.0)
    assert made.settle(final=False) == []
    return made


def test_a_host_that_offers_everything_gets_the_group_whole() -> None:
    hosts = [offer("a", "cpu"), offer("b", "cpu", "cuda", "openvino")]
    assert allot(order("cpu", "cuda"), hosts, final=False) == ([Part(frozenset({"cpu", "cuda"}))], frozenset())
    # The reference is needed though its row is there already.
    assert allot(order("cuda"), [offer("c", "cuda")], final=False) is None


def test_a_group_is_cut_only_when_waiting_is_over_and_only_over_like_hosts() -> None:
    hosts = [
        offer("a", "cpu", "cuda", host_id="x"),
        offer("b", "cpu", "openvino", host_id="x"),
        offer("c", "cpu", "qnn", host_id="y"),
    ]
    wanted = order("cpu", "cuda", "openvino", "qnn")
    assert allot(wanted, hosts, final=False) is None
    found = allot(wanted, hosts, final=True)
    assert found is not None
    parts, missing = found
    assert [sorted(part.executors) for part in parts] == [["cpu", "cuda"], ["cpu", "openvino"]]
    assert {part.host_id for part in parts} == {"x"}
    assert missing == {"qnn"}  # offered, but not by a host that can be compared with the others


def test_without_the_reference_nothing_can_be_compared() -> None:
    assert allot(order("cpu", "cuda"), [offer("a", "cuda")], final=True) == ([], {"cpu", "cuda"})


def test_an_order_for_a_kind_goes_to_that_kind_alone() -> None:
    hosts = [offer("a", "cpu", kind="amd"), offer("b", "cpu", kind="arm")]
    made = board([order("cpu", kind="arm")], hosts)
    assert made.pick(hosts[0]) is None
    assert made.pick(hosts[1]) is not None


def test_the_reference_is_owed_once_however_the_group_is_cut() -> None:
    first, second = jobs_of(
        order("cpu", "cuda", "qnn"), [Part(frozenset({"cpu", "cuda"}), "x"), Part(frozenset({"cpu", "qnn"}), "x")]
    )
    assert first.owed == {"g-cpu-1", "g-cpu-2", "g-cuda-1", "g-cuda-2"}
    assert second.owed == {"g-qnn-1", "g-qnn-2"}
    assert (first.part, second.part) == (0, 100)
    assert not first.fits(offer("z", "cpu", "cuda", host_id="y"))


def test_a_host_takes_first_what_few_others_can_take() -> None:
    plain, rich = offer("a", "cpu"), offer("b", "cpu", "cuda")
    made = board([order("cpu", group="easy"), order("cpu", "cuda", group="rare")], [plain, rich])
    taken = made.pick(rich)
    assert taken is not None
    assert taken.order.group_id == "rare"


def test_a_lost_group_goes_elsewhere_unless_there_is_no_elsewhere() -> None:
    first, second = offer("a", "cpu"), offer("b", "cpu")
    made = board([order("cpu")], [first, second])
    job = made.pick(first)
    assert job is not None
    job.lost.append(("a", "the node was lost"))
    made.put(job)
    assert made.pick(first) is None
    made.hosts_are([first], 1.0)
    assert made.pick(first) is job


def test_jobs_that_no_host_can_take_any_more_come_off_the_board_after_a_while() -> None:
    made = board([order("cpu", "cuda"), order("cpu", group="other")], [offer("a", "cpu", "cuda")])
    made.hosts_are([offer("b", "cpu")], 10.0)
    assert made.stranded(12.0, 5.0) == []
    (job,) = made.stranded(16.0, 5.0)
    assert "cuda" in job.executors
    assert not made.empty  # the other is still to be picked


NAMES = st.sampled_from(["cuda", "openvino", "qnn", "webgpu"])


@given(
    wanted=st.frozensets(NAMES),
    hosts=st.lists(st.tuples(st.frozensets(NAMES | st.just("cpu")), st.sampled_from("xy")), max_size=6),
)
def test_every_cell_is_owed_once_or_missing(wanted: frozenset[str], hosts: list[tuple[frozenset[str], str]]) -> None:
    offers = [Offer(f"n{place}", names, "k", like) for place, (names, like) in enumerate(hosts)]
    asked = order("cpu", *sorted(wanted))
    found = allot(asked, offers, final=True)
    assert found is not None
    parts, missing = found
    jobs: list[Job] = jobs_of(asked, parts)
    owed = [cell for job in jobs for cell in job.owed]
    lost = [cell for name in missing for cell in asked.cells.get(name, ())]
    assert sorted(owed + lost) == sorted(cell for cells in asked.cells.values() for cell in cells)
    for job in jobs:
        assert any(job.fits(one) for one in offers)
        assert "cpu" in job.executors
