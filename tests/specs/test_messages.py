"""Every wrong declaration: which file, which key, what was found, what was expected, what to try."""

from __future__ import annotations

import pytest

from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.base import Spec, did_you_mean, dotted
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.rubric import MetricUse, Rubric, TestSet, Tolerance, View
from lynxbench.specs.scheme import Scheme
from lynxbench.specs.suite import ImageInput, Model, Protocol, Scenario, Suite, TextGeneration
from tests.specs.declare import RUBRIC, SUITE, built, problems

PLAIN_NAME = "a plain name: letters, digits"
STATIC = 'name = "s"\nkind = "int8-static"\n'
GENERATION = "pad_id = 3\nprompt_length = 4\nmax_new_tokens = 4\n"
VIEW = 'name = "v"\n'
USE = 'name = "m"\nmetric = "top-1"\ndirection = "higher-is-better"\n'


@pytest.mark.parametrize(
    ("spec", "text", "expected"),
    [
        # an unknown key, at the top, in a list and in a table
        (
            Scheme,
            STATIC + "per_chanel = true",
            Problem("x.toml", "per_chanel", "unknown key", hint="did you mean 'per_channel'?"),
        ),
        (
            Suite,
            SUITE.replace("count = 8", "count = 8\nbatch_sise = 4"),
            Problem("x.toml", "calibrations[0].batch_sise", "unknown key", hint="did you mean 'batch_size'?"),
        ),
        (
            Suite,
            SUITE.replace("[protocol]", "[protocol]\nblocks = 3"),
            Problem("x.toml", "protocol.blocks", "unknown key", hint="did you mean 'block_s'?"),
        ),
        (
            Rubric,
            RUBRIC + "\nminimum = 3",
            Problem("x.toml", "calibration.minimum", "unknown key", hint="did you mean 'minimum_count'?"),
        ),
        # a value that is none of the known ones
        (
            Scheme,
            'name = "s"\nkind = "int8-statc"',
            Problem(
                "x.toml",
                "kind",
                "not a known value",
                "'int8-statc'",
                "fp32, fp16, bf16, fp8, int8-dynamic, int8-static, weights-only",
                "did you mean 'int8-static'?",
            ),
        ),
        (
            Scheme,
            'name = "s"\nkind = { a = 1 }',
            Problem(
                "x.toml",
                "kind",
                "not a known value",
                "{ a = 1 }",
                "fp32, fp16, bf16, fp8, int8-dynamic, int8-static, weights-only",
            ),
        ),
        (
            TestSet,
            'name = "t"\nsource = "s"\ncomposition_note = "n"\ncount = 1\ncomposition = ["clean", "ood"]',
            Problem(
                "x.toml",
                "composition[1]",
                "not a known value",
                "'ood'",
                "clean, out-of-distribution, stratified, domain-matched",
            ),
        ),
        (
            Suite,
            SUITE.replace("budgets.quick", "budgets.quik"),
            Problem(
                "x.toml",
                "budgets.quik",
                "not a known value",
                "'quik'",
                "quick, standard, thorough",
                "did you mean 'quick'?",
            ),
        ),
        # wrong types, without a silent conversion
        (
            Scenario,
            'name = "s"\nkind = "offline"\nbatch_size = "8"',
            Problem("x.toml", "batch_size", "wrong value", "'8'", "a whole number"),
        ),
        (Protocol, "threads = true", Problem("x.toml", "threads", "wrong value", "true", "a whole number")),
        (Protocol, 'block_s = "0,5"', Problem("x.toml", "block_s", "wrong value", "'0,5'", "a number")),
        (Scheme, STATIC + "per_channel = 1", Problem("x.toml", "per_channel", "wrong value", "1", "true or false")),
        (Model, 'name = "m"\nversion = 1\npath = "p"', Problem("x.toml", "version", "wrong value", "1", "text")),
        (
            Model,
            'name = "m"\nversion = "1"\npath = "p"\nimage = 3',
            Problem("x.toml", "image", "wrong value", "3", "a table"),
        ),
        (MetricUse, USE + 'on = { view = "clean" }', Problem("x.toml", "on.view", "wrong value", "'clean'", "a list")),
        (MetricUse, USE + 'on = { view = ["clean", 3] }', Problem("x.toml", "on.view[1]", "wrong value", "3", "text")),
        (
            ImageInput,
            'mean = [0.1, "x"]\nstd = [1.0, 1.0]',
            Problem("x.toml", "mean[1]", "wrong value", "'x'", "a number"),
        ),
        (ImageInput, "mean = []", Problem("x.toml", "mean", "wrong value", "[]", "at least one")),
        # out of bounds
        (Protocol, "time_limit_s = -1", Problem("x.toml", "time_limit_s", "wrong value", "-1", "greater than 0")),
        (Protocol, "confidence = 1.0", Problem("x.toml", "confidence", "wrong value", "1.0", "less than 1")),
        (
            Protocol,
            "minimum_rounds = 1",
            Problem("x.toml", "minimum_rounds", "wrong value", "1", "greater than or equal to 2"),
        ),
        (
            Scheme,
            STATIC + 'method = "percentile"\npercentile = 50',
            Problem("x.toml", "percentile", "wrong value", "50", "greater than 50"),
        ),
        # no number at all
        (Protocol, "block_s = nan", Problem("x.toml", "block_s", "wrong value", "nan", "a finite number")),
        (Protocol, "block_s = inf", Problem("x.toml", "block_s", "wrong value", "inf", "a finite number")),
        (
            Tolerance,
            'kind = "absolute"\nvalue = -inf',
            Problem("x.toml", "value", "wrong value", "-inf", "a finite number"),
        ),
        (
            MetricUse,
            USE + "parameters = { k = [1, nan] }",
            Problem("x.toml", "parameters.k[1]", "wrong value", "nan", "a finite number"),
        ),
        (
            Suite,
            SUITE.replace("block_s = 0.01", "block_s = nan"),
            Problem("x.toml", "budgets.quick.block_s", "wrong value", "nan", "a finite number"),
        ),
        # a field of several types
        (Scheme, STATIC + "op_types = 3", Problem("x.toml", "op_types", "wrong value", "3", "all or a list")),
        (
            Scheme,
            STATIC + 'op_types = "al"',
            Problem("x.toml", "op_types", "wrong value", "'al'", "all or a list", "did you mean 'all'?"),
        ),
        (Scheme, STATIC + 'op_types = ["MatMul", 2]', Problem("x.toml", "op_types[1]", "wrong value", "2", "text")),
        # required
        (
            Model,
            'name = "m"\nversion = "1"',
            Problem(
                "x.toml",
                "path",
                "required, but missing",
                expected="ONNX file, relative to the declaring file, builtin:PATH or hf://org/name@commit/PATH",
            ),
        ),
        (
            Suite,
            SUITE.replace('rubric = "rubric.toml"', ""),
            Problem(
                "x.toml",
                "workloads[0].rubric",
                "required, but missing",
                expected="a rubric's name, or a .toml file relative to the suite",
            ),
        ),
        # fields that do not go together
        (
            View,
            VIEW + 'corruption = "blur"',
            Problem("x.toml", "", "a corruption needs a severity from 1 to 5, and a clean view has none"),
        ),
        (
            View,
            VIEW + "severity = 2",
            Problem("x.toml", "", "a corruption needs a severity from 1 to 5, and a clean view has none"),
        ),
        (
            Scenario,
            'name = "s"\nkind = "single-stream"\nbatch_size = 2',
            Problem("x.toml", "", "single-stream sends one sample a query; batch_size is 2"),
        ),
        (
            Scenario,
            'name = "s"\nkind = "multi-stream"\nbatch_size = 1',
            Problem("x.toml", "", "multi-stream sends several samples a query; batch_size is 1: use single-stream"),
        ),
        (
            Scenario,
            'name = "s"\nkind = "server"',
            Problem("x.toml", "", "server needs rate_per_s, the arrivals a second"),
        ),
        (
            Scenario,
            'name = "s"\nkind = "offline"\nrate_per_s = 10.0',
            Problem("x.toml", "", "rate_per_s is for server; offline sends the next query when the last has come back"),
        ),
        (
            Scenario,
            'name = "s"\nkind = "server"\nrate_per_s = 10.0\nbatch_size = 2',
            Problem("x.toml", "", "server sends one sample a query; batch_size is 2"),
        ),
        (
            Scenario,
            'name = "s"\nkind = "server-search"',
            Problem("x.toml", "", "server-search needs latency_limit_ms, which p99 must hold"),
        ),
        (
            Scenario,
            'name = "s"\nkind = "server-search"\nlatency_limit_ms = 5.0\nrate_per_s = 10.0',
            Problem("x.toml", "", "rate_per_s is for server; server-search finds it"),
        ),
        (
            Scenario,
            'name = "s"\nkind = "single-stream"\nin_flight = 2',
            Problem("x.toml", "", "in_flight is for offline; single-stream has its own way of sending queries"),
        ),
        (
            Scenario,
            'name = "s"\nkind = "single-stream"\nlargest_batch_size = 8',
            Problem("x.toml", "", "largest_batch_size is for offline, not single-stream"),
        ),
        (
            Scenario,
            'name = "s"\nkind = "offline"\nbatch_size = 2\nlargest_batch_size = 8',
            Problem(
                "x.toml",
                "",
                "batch_size is given and largest_batch_size asks to search it: leave one of them out",
            ),
        ),
        (ImageInput, "std = [0.5, 0.0]", Problem("x.toml", "", "std must be positive, not 0.0")),
        (
            ImageInput,
            "mean = [0.1, 0.2, 0.3]\nstd = [1.0, 1.0]",
            Problem("x.toml", "", "mean has 3 values and std 2; both are one a channel"),
        ),
        (
            TextGeneration,
            GENERATION + 'vocabulary = "abc"\nstop = "."',
            Problem("x.toml", "", "stop '.' is not in the vocabulary, so no answer could end"),
        ),
        (
            TextGeneration,
            GENERATION + 'vocabulary = "aba."\nstop = "."',
            Problem("x.toml", "", "vocabulary holds 'a' more than once, so it has no single id"),
        ),
        (
            TextGeneration,
            GENERATION + 'vocabulary = "a"\nstop = "a"',
            Problem("x.toml", "vocabulary", "wrong value", "'a'", "text of at least 2 characters"),
        ),
        (
            TextGeneration,
            GENERATION + 'vocabulary = "ab"\nstop = "ab"',
            Problem("x.toml", "stop", "wrong value", "'ab'", "text of at most 1 character"),
        ),
        (
            Tolerance,
            'kind = "relative"\nvalue = 1',
            Problem("x.toml", "", "a relative tolerance of 1.0 would accept any loss; 0.01 means one hundredth"),
        ),
        (
            Rubric,
            RUBRIC.replace("value = 0.01", "value = 1"),
            Problem("x.toml", "", "a tolerance of 1.0 would accept any loss; 0.01 means one point"),
        ),
        (
            Tolerance,
            'kind = "error-ratio"\nvalue = 0.9',
            Problem("x.toml", "", "an error-ratio tolerance is a factor above 1, e.g. 1.1 for 10 % more errors"),
        ),
        (
            Rubric,
            RUBRIC.replace('role = "primary"', ""),
            Problem("x.toml", "", 'exactly one metric must have role = "primary"; found 0: none'),
        ),
        (
            Rubric,
            RUBRIC + '\n[[metrics]]\nname = "top-1"\nmetric = "ece"\ndirection = "lower-is-better"',
            Problem("x.toml", "", "duplicate metric name: top-1"),
        ),
        (
            Rubric,
            RUBRIC.replace("count = 40", 'count = 40\nviews = [{ name = "a" }, { name = "a" }]'),
            Problem("x.toml", "", "duplicate view name: a"),
        ),
    ],
)
def test_one_problem_said_in_full(spec: type[Spec], text: str, expected: Problem) -> None:
    assert problems(spec, text) == [expected]


@pytest.mark.parametrize("name", ["", "a b", "-a", "a\n", "a/b", "é", "x" * 65, "../up"])
def test_names_are_plain_tokens(name: str) -> None:
    found = problems(Scheme, f'kind = "fp32"\nname = {name!r}'.replace("'", '"'))
    assert [(problem.key, problem.value) for problem in found] == [("name", repr(name))]
    assert found[0].expected is not None
    assert found[0].expected.startswith(PLAIN_NAME)


@pytest.mark.parametrize("digest", ["0" * 63, "G" * 64, "A" * 64, "0" * 64 + "\n"])
def test_a_digest_is_64_hexadecimal_digits(digest: str) -> None:
    text = 'name = "m"\nversion = "1"\npath = "p"\nsha256 = ' + repr(digest).replace("'", '"')
    assert problems(Model, text)[0].expected == "a SHA-256: 64 digits and letters a to f, lower case"


@pytest.mark.parametrize(
    ("options", "useless"),
    [
        ('kind = "fp32"\nper_channel = true', "per_channel"),
        ('kind = "fp16"\nweight_type = "int8"', "weight_type"),
        ('kind = "int8-dynamic"\nmethod = "minmax"', "method"),
        ('kind = "int8-dynamic"\nactivation_type = "uint8"\nformat = "qdq"', "activation_type, format"),
        ('kind = "int8-static"\nkeep_io_types = true', "keep_io_types"),
    ],
)
def test_an_option_without_effect_is_refused(options: str, useless: str) -> None:
    (problem,) = problems(Scheme, 'name = "s"\n' + options)
    assert problem.message.startswith(f"{useless} has no effect for kind ")


def test_options_that_change_nothing_are_refused() -> None:
    assert problems(Scheme, STATIC + "percentile = 99.0")[0].message == "percentile has no effect with method 'minmax'"
    assert problems(Scheme, STATIC + "op_types = []")[0].message.startswith(
        "an empty list of op_types quantizes nothing"
    )


def test_left_out_options_take_their_defaults_and_are_there_to_be_recorded() -> None:
    assert built(Scheme, STATIC).options() == {
        "kind": "int8-static",
        "weight_type": "int8",
        "activation_type": "uint8",
        "per_channel": True,
        "reduce_range": False,
        "op_types": "all",
        "format": "qdq",
        "method": "minmax",
    }
    assert built(Scheme, STATIC + 'method = "percentile"').percentile == 99.99
    assert built(Scheme, 'name = "s"\nkind = "fp32"').options() == {"kind": "fp32"}


def test_every_error_at_once_in_file_order() -> None:
    text = (
        SUITE.replace('version = "1.0"\n\n[[models]]', "\n[[models]]")
        .replace('kind = "fp32"', 'kind = "fp33"')
        .replace("count = 8", "count = 0\nbatch_size = 2.5")
        .replace("[protocol]", "[protocol]\nthreads = 0")
    )
    found = problems(Suite, text, "broken.toml")
    assert [problem.key for problem in found] == [
        "version",
        "schemes[0].kind",
        "calibrations[0].count",
        "calibrations[0].batch_size",
        "protocol.threads",
    ]
    text = str(DeclarationError(found))
    assert text.count("broken.toml: ") == 5
    assert "broken.toml: schemes[0].kind: not a known value\n  found     'fp33'\n  expected  fp32" in text


def test_a_list_whose_items_are_wrong_is_not_also_called_empty() -> None:
    text = SUITE.replace('models = ["net"]', 'models = ["a b"]')
    assert [problem.key for problem in problems(Suite, text)] == ["workloads[0].models[0]"]


def test_options_of_executors_say_all_types_that_they_may_have() -> None:
    (problem,) = [p for p in problems(ExecutorSpec, 'name = "e"\noptions = { x = [1] }') if p.key.startswith("options")]
    assert (problem.key, problem.value) == ("options.x", "[1]")
    assert problem.expected == "true or false or a whole number or a number or text"


def test_hints() -> None:
    assert did_you_mean("int8-sttic", ["int8-static", "fp32"]) == "did you mean 'int8-static'?"
    assert did_you_mean("zzz", ["b", "a"]) == "one of: a, b"
    assert did_you_mean("zzz", [f"name{i}" for i in range(13)]) is None
    assert did_you_mean("zzz", []) is None
    assert dotted(("schemes", 2, "op_types", 0)) == "schemes[2].op_types[0]"
    assert dotted(()) == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("averaging_constant = 0.5", "averaging_constant has no effect with method 'minmax'"),
        ('method = "moving-average"\npercentile = 99.0', "percentile has no effect with method 'moving-average'"),
    ],
)
def test_options_of_other_methods_are_refused(options: str, message: str) -> None:
    assert problems(Scheme, STATIC + options)[0].message == message


def test_dynamic_quantization_has_weights_of_8_bits() -> None:
    (problem,) = problems(Scheme, 'name = "s"\nkind = "int8-dynamic"\nweight_type = "int4"')
    assert "none of int8-dynamic's" in problem.message


def test_options_of_later_versions_are_written_only_where_given() -> None:
    plain = built(Scheme, STATIC)
    assert "averaging_constant" not in plain.model_dump()
    assert "percentile" in plain.model_dump()
    moved = built(Scheme, STATIC + 'method = "moving-average"')
    assert moved.options()["averaging_constant"] == 0.01
    assert Scheme.from_json(moved.model_dump_json()) == moved


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ('algorithm = "hqq"\naccuracy_level = 4', "accuracy_level has no effect with algorithm 'hqq'"),
        ('algorithm = "hqq"\nsymmetric_weights = true', "symmetric_weights has no effect with algorithm 'hqq'"),
        ('op_types_kept_float = ["MatMul"]', "op_types_kept_float has no effect for kind 'weights-only'"),
        ("smooth_alpha = 0.5", "smooth_alpha has no effect for kind 'weights-only'"),
    ],
)
def test_weights_only_takes_its_own_options(options: str, message: str) -> None:
    (problem,) = problems(Scheme, 'name = "s"\nkind = "weights-only"\n' + options)
    assert problem.message.startswith(message)


def test_weights_only_has_the_defaults_of_onnxruntime() -> None:
    assert built(Scheme, 'name = "s"\nkind = "weights-only"').options() == {
        "kind": "weights-only",
        "bits": 4,
        "block_size": 128,
        "algorithm": "rtn",
        "symmetric_weights": False,
        "op_types": ["MatMul"],
    }
    assert problems(Scheme, 'name = "s"\nkind = "weights-only"\nblock_size = 48')[0].expected == "16, 32, 64, 128, 256"
