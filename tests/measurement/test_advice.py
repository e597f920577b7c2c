"""Warnings from what the host says."""

from __future__ import annotations

import pytest

from lynxbench.measurement import TimingWarning, host_warnings


@pytest.mark.parametrize(
    ("load_1min", "throttled", "found"),
    [
        (0.0, 0, ()),
        (None, None, ()),
        (0.5, None, ()),
        (0.51, 0, (TimingWarning.LOADED_HOST,)),
        (0.1, 1, (TimingWarning.THROTTLED,)),
        (9.0, 9, (TimingWarning.LOADED_HOST, TimingWarning.THROTTLED)),
    ],
)
def test_the_host_warns(load_1min: float | None, throttled: int | None, found: tuple[TimingWarning, ...]) -> None:
    assert host_warnings(load_1min=load_1min, usable_cores=2.0, throttled=throttled) == found


def test_every_warning_has_advice() -> None:
    assert all(len(warning.advice) > 40 for warning in TimingWarning)
