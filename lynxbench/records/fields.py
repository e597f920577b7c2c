"""One table for every field of a record: `schema` derives Parquet, JSON Schema and README from it, `record` checks."""

from __future__ import annotations

from lynxbench.records.field import Field, Section, interval

SCHEMA_VERSION = 1

STATUSES = ("ok", "partial", "unavailable", "unsupported", "rejected", "failed", "timeout", "oom", "interrupted")
# Statuses that a later run of the same command need not try again.
FINAL_STATUSES = frozenset({"ok", "partial", "unavailable", "unsupported", "rejected", "failed", "timeout", "oom"})
VERDICTS = ("reference", "robust", "fragile", "inconclusive")

SECTIONS: tuple[Section, ...] = (
    Section(
        "Identity",
        (
            Field("schema_version", "int64", "version of this table", need="always", check="positive"),
            Field("lynxbench_version", "string", "what wrote the row", need="always"),
            Field("sweep", "string", "name of the sweep", need="always"),
            Field("suite", "string", "name of the suite", need="always"),
            Field("suite_version", "string", "version of the suite", need="always"),
            Field("suite_digest", "string", "SHA-256 of the suite as it was run", need="always", check="sha256"),
            Field("cell_id", "string", "digest of everything that was asked for in this row", need="always"),
            Field(
                "candidate_id", "string", "digest of model, scheme, calibration, executor and batch size", need="always"
            ),
            Field(
                "position",
                "int64",
                "place in the suite's plan: the order to show rows in",
                need="always",
                check="non-negative",
            ),
            Field(
                "group_id",
                "string",
                "rows with the same id were measured in the same interleaved rounds",
                need="always",
            ),
            Field("host_id", "string", "digest of the host section, without load", need="always"),
            Field("node", "string", "name of the fleet's node that measured it; null for a sweep on one machine"),
            Field("started_at", "timestamp", "start of the cell's group, UTC", need="always"),
            Field("ended_at", "timestamp", "end of the cell's rounds, UTC; null where nothing ran"),
            Field("rescored_from", "string", "SWEEP/CELL_ID whose stored predictions another rubric scored: this row"),
            Field("status", "string", "ok, or why there is no full measurement", need="always", check="status"),
            Field("reason", "string", "why the status is not ok"),
            Field("warnings", "warnings", "what a reader should know, each with advice", need="always"),
        ),
    ),
    Section(
        "Question",
        (
            Field("workload", "string", "name of the workload in the suite", need="always"),
            Field("task", "string", "how samples become answers", need="always"),
            Field("rubric", "string", "name of the rubric", need="always"),
            Field("rubric_version", "string", "version of the rubric", need="always"),
            Field("rubric_digest", "string", "SHA-256 of the rubric", need="always", check="sha256"),
            Field("test_set", "string", "name of the test set", need="always"),
            Field(
                "test_set_digest",
                "string",
                "SHA-256 of its samples, labels, strata and order",
                need="always",
                check="sha256",
            ),
            Field(
                "test_set_composition",
                "strings",
                "clean, out-of-distribution, stratified, domain-matched",
                need="always",
            ),
            Field("test_set_n", "int64", "samples asked", "samples", "always", "positive"),
            Field("strata", "strings", "sample fields that scores are broken down by", need="always"),
            Field("reference_scheme", "string", "scheme that deltas are relative to", need="always"),
            Field("reference_executor", "string", "executor that deltas are relative to", need="always"),
            Field("is_reference", "bool", "this row is the reference", need="always"),
            Field("tolerance_kind", "string", "absolute, relative or error-ratio", need="always"),
            Field("tolerance", "float64", "largest loss that counts as none", need="always", check="positive"),
        ),
    ),
    Section(
        "Model and scheme",
        (
            Field("model", "string", "name of the model", need="always"),
            Field("model_version", "string", "version of the model", need="always"),
            Field(
                "model_sha256", "string", "SHA-256 of the ONNX file before the scheme", need="always", check="sha256"
            ),
            Field("scheme", "string", "name of the scheme", need="always"),
            Field(
                "scheme_kind", "string", "fp32, fp16, bf16, fp8, int8-dynamic, int8-static, weights-only", need="always"
            ),
            Field("scheme_options", "string", "every option in effect, as JSON", need="always"),
            Field("artifact_sha256", "string", "SHA-256 of the ONNX file that ran", need="measured", check="sha256"),
            Field("artifact_bytes", "int64", "size of the ONNX file that ran", "bytes", "measured", "positive"),
            Field("calibration", "string", "name of the calibration set"),
            Field(
                "calibration_digest", "string", "SHA-256 of the calibration samples, order and batches", check="sha256"
            ),
            Field("calibration_split", "string", "which part of the data it is"),
            Field("calibration_selection", "string", "how samples were picked"),
            Field("calibration_n", "int64", "calibration samples", "samples", check="positive"),
            Field("calibration_seed", "int64", "seed of the selection"),
            Field("calibration_batch_size", "int64", "samples a calibration batch", "samples", check="positive"),
            Field("calibration_options", "string", "corruption, filter and noise that were declared, as JSON"),
            Field("calibration_overlap_n", "int64", "of them, also scored", "samples", check="non-negative"),
            Field(
                "calibration_minimum_n",
                "int64",
                "calibration samples that the rubric asks for at least",
                "samples",
                check="positive",
            ),
        ),
    ),
    Section(
        "Tuning",
        (
            Field(
                "tuning_tried_n",
                "int64",
                "candidates that were compared to find this scheme, it included; null: not tuned",
                "",
                check="positive",
            ),
            Field("tuning_picked", "bool", "it was picked on the tuning samples alone; false: measured beside it"),
            Field("tuning_split", "string", "which samples it was picked on: share, seed and digest, as JSON"),
            Field("tuning_n", "int64", "samples that it was picked on", "samples", check="positive"),
            Field("tuning_untouched", "bool", "none of them is scored in this row"),
            Field("tuning_limit_s", "float64", "declared budget of the search", "s", check="positive"),
            Field("tuning_spent_s", "float64", "what the search took", "s", check="non-negative"),
            Field("tuning_max_loss", "float64", "loss that the search allowed", "", check="non-negative"),
            *interval("tuning_loss", "its loss on the tuning samples: flattered, as it was picked by it", ""),
        ),
    ),
    Section(
        "Executor",
        (
            Field("executor", "string", "name of the executor", need="always"),
            Field("executor_digest", "string", "SHA-256 of its declaration", need="always", check="sha256"),
            Field("provider", "string", "ONNX Runtime execution provider", need="always"),
            Field("provider_options", "string", "options in effect, as JSON"),
            Field("onnxruntime_version", "string", "version of the wheel that ran", need="measured"),
            Field("wheel", "string", "distribution that owns onnxruntime", need="measured"),
            Field("device", "string", "device that the provider named"),
            Field("precision", "string", "what it computes in, where that is not the scheme's own"),
            Field("simulated", "bool", "a simulator: its times are never ranked", need="always"),
            Field("threads", "int64", "intra-op threads", "threads", "measured", "positive"),
            Field("nodes", "nodes", "where every node ran, by provider and op type", need="measured"),
            Field(
                "first_run_difference",
                "float64",
                "largest absolute difference of the first outputs to those of the CPU provider without optimizations",
                check="non-negative",
            ),
        ),
    ),
    Section(
        "Scenario and protocol",
        (
            Field("scenario", "string", "name of the scenario", need="always"),
            Field(
                "scenario_kind", "string", "single-stream, multi-stream, offline, server, server-search", need="always"
            ),
            Field("batch_size", "int64", "samples a query", "samples", "measured", "positive"),
            Field("in_flight", "int64", "queries under way at a time; null for server", "queries", check="positive"),
            Field(
                "rate_per_s", "float64", "arrivals a second: as declared, or found by search", "1/s", check="positive"
            ),
            Field("rate_high_per_s", "float64", "lowest rate above it that failed the limit", "1/s", check="positive"),
            Field("p99_limit_ms", "float64", "server-search: what p99 had to hold", "ms", check="positive"),
            Field("searched", "string", "what was found by trying, as JSON: every load tried, and how it ended"),
            Field("protocol", "string", "the protocol in effect, as JSON", need="always"),
            Field("rounds", "int64", "interleaved rounds", "rounds", "measured", "positive"),
            Field("part", "int64", "which part of a group larger than memory, from 0", "", "measured", "non-negative"),
            Field("processes", "int64", "fresh processes that the rounds were spread over", "", "measured", "positive"),
            Field("stopped_by", "string", "precision or time-limit", need="measured"),
            Field("blocks_used", "int64", "timed blocks behind the summaries", "blocks", "measured", "positive"),
            Field(
                "blocks_excluded",
                "int64",
                "timed blocks left out because the scheduler starved them",
                "blocks",
                "measured",
                "non-negative",
            ),
        ),
    ),
    Section(
        "Host",
        (
            Field("cpu", "string", "processor model", need="always"),
            Field("isa_flags", "strings", "instruction sets that matter to quantized kernels", need="always"),
            Field("cores_logical", "int64", "logical cores", "cores", "always", "positive"),
            Field("cores_usable", "float64", "cores that affinity and container leave", "cores", "always", "positive"),
            Field("memory_bytes", "int64", "physical memory", "bytes", "always", "positive"),
            Field("memory_limit_bytes", "int64", "the container's limit, if any", "bytes", check="positive"),
            Field("governor", "string", "CPU frequency governor, where readable"),
            Field("load_1min", "float64", "load average when the group started", "", "always", "non-negative"),
            Field("os", "string", "operating system", need="always"),
            Field("kernel", "string", "kernel release", need="always"),
            Field("python", "string", "Python version", need="always"),
        ),
    ),
    Section(
        "Cold start",
        (
            Field("import_ns", "int64", "importing ONNX Runtime in a fresh process", "ns", "measured", "non-negative"),
            Field("register_ns", "int64", "registering a plugin provider", "ns", "measured", "non-negative"),
            Field("create_ns", "int64", "creating the session", "ns", "measured", "non-negative"),
            Field(
                "engine_build_ns", "int64", "compiling an engine that was not cached", "ns", "measured", "non-negative"
            ),
            Field("first_run_ns", "int64", "the first run", "ns", "measured", "non-negative"),
            Field(
                "warm_up_runs",
                "int64",
                "runs before timing, those of the accuracy pass included",
                "runs",
                "measured",
                "positive",
            ),
            Field("warm_up_ns", "int64", "time of the warm-up, likewise", "ns", "measured", "positive"),
        ),
    ),
    Section(
        "Timing",
        (
            Field("latency_n", "int64", "timed queries behind the percentiles", "queries", "measured", "positive"),
            Field("latency_mean_ns", "float64", "mean latency of a query", "ns", "measured", "positive"),
            Field("latency_min_ns", "float64", "shortest", "ns", "measured", "positive"),
            Field("lateness_p50_ns", "float64", "server: median of issued less scheduled", "ns", check="non-negative"),
            Field("lateness_p99_ns", "float64", "server: its 99th percentile", "ns", check="non-negative"),
            Field("latency_max_ns", "float64", "longest", "ns", "measured", "positive"),
            *interval("p50_ns", "median latency of a query; null where n cannot support it", "ns", check="positive"),
            *interval("p90_ns", "90th percentile; null where n cannot support it", "ns", check="positive"),
            *interval("p95_ns", "95th percentile; null where n cannot support it", "ns", check="positive"),
            *interval("p99_ns", "99th percentile; null where n cannot support it", "ns", check="positive"),
            *interval("p99_9_ns", "99.9th percentile; null where n cannot support it", "ns", check="positive"),
            *(
                Field(f"{q}_early_stopping_ns", "float64", "MLPerf's upper limit of it at 99 %", "ns", check="positive")
                for q in ("p50", "p90", "p95", "p99", "p99_9")
            ),
            *interval("throughput_per_s", "samples a second", "1/s", need="measured", check="positive"),
            *interval(
                "p50_ratio",
                "the reference's median latency a sample over this row's, formed within rounds; above 1 is faster",
                "",
                check="positive",
            ),
            *interval(
                "throughput_ratio",
                "throughput over the reference's in the same scenario, formed within rounds",
                "",
                check="positive",
            ),
            Field(
                "first_token_p50_ns", "float64", "generation with a cache: to the first token", "ns", check="positive"
            ),
            Field("output_token_p50_ns", "float64", "the same: for each further token", "ns", check="positive"),
            Field("output_tokens_mean", "float64", "the same: tokens a query", "", check="positive"),
            Field(
                "harness_overhead_ns", "float64", "the timing loop's own cost a query", "ns", "measured", "non-negative"
            ),
            Field(
                "cpu_over_wall_ratio",
                "float64",
                "processor time over wall time in timed blocks",
                "",
                "measured",
                "non-negative",
            ),
            Field(
                "scheduler_delay_ratio",
                "float64",
                "share of timed wall time spent waiting for a core",
                "",
                check="non-negative",
            ),
        ),
    ),
    Section(
        "Memory and energy",
        (
            Field("peak_rss_bytes", "int64", "peak resident memory of the worker", "bytes", "measured", "positive"),
            Field(
                "energy_joules",
                "float64",
                "energy a query, of all the host's packages or of the device, where the host lets it be read",
                "J",
                check="non-negative",
            ),
            Field("energy_reason", "string", "why energy is null"),
            Field("frequency_before_hz", "float64", "mean of the usable cores before timing", "Hz", check="positive"),
            Field("frequency_after_hz", "float64", "the same after timing", "Hz", check="positive"),
            Field("temperature_before_c", "float64", "the processor's hottest sensor before timing", "°C"),
            Field("temperature_after_c", "float64", "the same after timing", "°C"),
            Field("throttled_n", "int64", "times that the processor was throttled meanwhile", "", check="non-negative"),
            Field("device_memory_bytes", "int64", "held on the device after timing", "bytes", check="positive"),
            Field("device_memory_reason", "string", "why device memory is null"),
        ),
    ),
    Section(
        "Scores",
        (
            Field("predictions_id", "string", "key into predictions.parquet", need="measured"),
            Field("primary_metric", "string", "the metric that decides the verdict", need="measured"),
            Field("primary_direction", "string", "higher-is-better or lower-is-better", need="measured"),
            *interval("primary_value", "its value", "", need="measured"),
            Field("primary_n", "int64", "samples behind it", "samples", "measured", "positive"),
            Field(
                "primary_failed_n",
                "int64",
                "samples whose output held a NaN, counted as wrong",
                "samples",
                "measured",
                "non-negative",
            ),
            *interval("primary_delta", "value less the reference's, paired by sample", ""),
            *interval("primary_loss", "the delta, signed so that positive is worse", ""),
            Field("primary_test", "string", "the paired test"),
            Field("primary_p_value", "float64", "its p-value for no difference", "", check="share"),
            Field("verdict", "string", "reference, robust, fragile or inconclusive", need="measured", check="verdict"),
            Field(
                "required_n",
                "int64",
                "about how many samples would decide, when inconclusive",
                "samples",
                check="positive",
            ),
            Field("tolerance_loss", "float64", "the tolerance as a loss of the primary metric, in its unit"),
            Field(
                "resolvable_loss",
                "float64",
                "the smallest loss that these samples would have told from none, four times in five",
                check="non-negative",
            ),
            Field(
                "decision_grade",
                "bool",
                "all items disclosed, and the loss's interval narrower than it or the tolerance; null: the reference",
            ),
            Field("decision_grade_why", "string", "what decision_grade rests on, or lacks"),
            Field("disclosure", "disclosure", "task, model, metric, reference, calibration, strata", need="measured"),
            Field("worst_stratum", "string", "field=value of the stratum that loses most"),
            *interval("worst_stratum_loss", "its loss", ""),
            Field(
                "flip_rate",
                "float64",
                "share of samples that are answered otherwise than by the reference",
                "",
                check="share",
            ),
            Field(
                "kl_divergence", "float64", "mean divergence of its class probabilities from the reference's", "nats"
            ),
            Field("sqnr_db", "float64", "the reference's outputs over the difference to them", "dB"),
            Field("scores", "scores", "every metric of the rubric", need="measured"),
            Field("strata_scores", "scores", "the primary metric by stratum", need="measured"),
            Field(
                "recheck_difference",
                "float64",
                "share of answers after timing that differ from the accuracy pass (0 when the same path ran)",
                "",
                "measured",
                "share",
            ),
        ),
    ),
)

FIELDS: tuple[Field, ...] = tuple(field for section in SECTIONS for field in section.fields)
BY_NAME: dict[str, Field] = {field.name: field for field in FIELDS}

# A list of structures: name → (member, plain type, meaning).
STRUCTURES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "warnings": (("code", "string", "typed code"), ("advice", "string", "what to do about it")),
    "disclosure": (
        ("item", "string", "task, model, metric, reference, calibration or strata"),
        ("held", "bool", "the record discloses it"),
        ("why", "string", "what is disclosed, or what is missing"),
    ),
    "nodes": (
        ("provider", "string", "execution provider"),
        ("op_type", "string", "ONNX op type"),
        ("count", "int64", "nodes"),
    ),
    "scores": (
        ("metric", "string", "name in the rubric"),
        ("role", "string", "primary or secondary"),
        ("direction", "string", "which way is better"),
        ("unit", "string", "unit of the value"),
        ("stratum_field", "string", "null for the whole test set"),
        ("stratum", "string", "value of that field"),
        ("n", "int64", "samples"),
        ("failed_n", "int64", "samples whose output held a NaN"),
        ("value", "float64", "score; null with a reason when undefined"),
        ("low", "float64", "lower end of its interval"),
        ("high", "float64", "upper end"),
        ("reference_value", "float64", "the reference's score on the same samples"),
        ("delta", "float64", "value less the reference's"),
        ("delta_low", "float64", "lower end of its paired interval"),
        ("delta_high", "float64", "upper end"),
        ("loss", "float64", "the delta, signed so that positive is worse"),
        ("loss_low", "float64", "lower end of its paired interval"),
        ("loss_high", "float64", "upper end"),
        ("test", "string", "paired test"),
        ("p_value", "float64", "for no difference"),
        ("p_value_holm", "float64", "corrected for the number of strata"),
        ("interval_method", "string", "of the paired interval"),
        ("resamples", "int64", "of the bootstrap; 0 for closed forms"),
        ("seed", "int64", "of the bootstrap"),
        ("reason", "string", "why the value is null"),
    ),
}
