"""The table of what can be had, against what builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from lynxbench.quantization import why_unsupported
from lynxbench.quantization.support import VARIANTS, Support, attempts, support_of, support_table
from lynxbench.specs.scheme_options import OPTIONS
from tests.quantization.models import MODELS, saved


def test_every_kind_and_every_option_is_tried() -> None:
    assert set(VARIANTS) == set(OPTIONS)
    tried = {kind: {name for options in variants for name in options} for kind, variants in VARIANTS.items()}
    for kind, options in OPTIONS.items():
        # Those that name nodes or op types, or that only belong to a method, are tried in tests of their own.
        own = {"nodes_kept_float", "op_types_kept_float", "percentile", "averaging_constant", "op_types"}
        assert options - tried[kind] <= own, kind
    schemes = [scheme.options() for scheme, _ in attempts()]
    assert all(schemes.count(one) == 1 for one in schemes)


@pytest.mark.parametrize("name", MODELS)
def test_all_attempts_end_as_ok_or_with_a_typed_reason(name: str, tmp_path: Path) -> None:
    model, calibration = saved(tmp_path, name)
    found = support_of(model, calibration)
    assert len(found) == len(list(attempts()))
    assert {item.status for item in found} <= {"ok", "built", "unsupported"}
    for item, (scheme, _) in zip(found, attempts(), strict=True):
        assert (item.status == "ok") == (not item.reason)
        if why_unsupported(scheme):
            assert (item.status, item.reason) == ("unsupported", why_unsupported(scheme))
    by_kind = {item.kind: item for item in reversed(found)}  # the defaults of each
    assert by_kind["int8-static"].status == by_kind["weights-only"].status == by_kind["fp16"].status == "ok"
    assert by_kind["bf16"].status == "built"
    assert by_kind["fp8"].status == ("unsupported" if name == "conv" else "ok")


def test_the_table_says_each_reason_once() -> None:
    ok = Support("int8-static", {"per_channel": False, "op_types": ("Conv", "Gemm")}, "ok", "", 7)
    no = Support("int8-static", {"per_channel": False, "op_types": ("Conv", "Gemm")}, "unsupported", "no kernel", 0)
    built = Support("int8-static", {}, "built", "not run once: no zeros", 3)
    assert support_table({"a": [ok, built], "b": [no, no]}).splitlines() == [
        "| scheme | options | a | b |",
        "| --- | --- | --- | --- |",
        "| `int8-static` | `per_channel = false`, `op_types = Conv, Gemm` | 7 nodes | unsupported [1] |",
        "| `int8-static` | defaults | 3 nodes not run [2] | unsupported [1] |",
        "",
        "1. no kernel",
        "2. not run once: no zeros",
    ]
