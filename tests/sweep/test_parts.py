"""Groups larger than memory: every candidate once, the reference in each part, and the same answers as in one."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lynxbench.sweep.parts import split, worker_bytes
from tests.running import SMALL, lynxbench


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 120))
def test_parts_hold_everybody_once_beside_the_reference(sizes: list[int], limit: int) -> None:
    parts = split(sizes, limit)
    assert all(part[0] == 0 for part in parts)
    rest = [position for part in parts for position in part[1:]]
    assert sorted(rest) == list(range(1, len(sizes)))
    for part in parts:
        assert sum(sizes[position] for position in part) <= limit or len(part) <= 2
    # No two parts could have been one: what began a part did not fit into any before it.
    for later, part in enumerate(parts[1:], 1):
        for before in parts[:later]:
            earlier = [position for position in before if position < part[1]]
            assert sum(sizes[position] for position in earlier) + sizes[part[1]] > limit


def test_one_part_where_all_fits() -> None:
    assert split([1, 1, 1], 3) == [[0, 1, 2]]
    assert split([5], 1) == [[0]]
    assert split([], 1) == []
    assert worker_bytes(0, 0) < worker_bytes(1, 0) < worker_bytes(1, 1)


def test_a_group_in_parts_gives_the_same_answers(tmp_path: Path) -> None:
    three = (*SMALL[:-1], "model=fashion-resnet8,scheme=fp32,int8-static,fp16,scenario=single-stream", "--json")
    whole = lynxbench("sweep", *three, "--out", "whole", home=tmp_path)
    assert whole.code == 0, whole.err
    halves = lynxbench(
        "sweep", *three, "--out", "halves", "--set", f"protocol.group_memory_bytes={500 << 20}", home=tmp_path
    )
    assert halves.code == 0, halves.err
    one, two = ({row["scheme"]: row for row in ran.json()["records"]} for ran in (whole, halves))
    assert {row["part"] for row in one.values()} == {0}
    assert two["fp32"]["part"] == 0
    assert {two["int8-static"]["part"], two["fp16"]["part"]} == {0, 1}
    assert len(halves.json()["records"]) == 3
    for scheme, row in two.items():
        assert row["primary_value"] == one[scheme]["primary_value"]
        assert row["primary_delta"] == one[scheme]["primary_delta"]
        assert row["p50_ratio"] is not None  # each against the reference in its own part
