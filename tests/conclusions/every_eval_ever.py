"""What Every Eval Ever 0.3.0 asks of an evaluation log, restated from its specification as JSON Schema (draft 7).

Where the project's own validator is stricter than its published schema (both ends of a continuous scale), this is as
strict as the validator. Parts that LynxBench never writes (judges, generation settings, instance files) are left out,
and therefore refused.
"""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string"}
DETAILS = {"type": "object", "additionalProperties": TEXT}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


_END = {"anyOf": [{"type": "number"}, {"enum": ["Infinity", "-Infinity"]}]}
_MODEL = _object(
    ["name", "id", "additional_details"],
    name=TEXT,
    id=TEXT,
    developer=TEXT,
    inference_platform=TEXT,
    inference_engine=_object([], name=TEXT, version=TEXT),
    additional_details={
        **DETAILS,
        "required": ["deployment_type", "model_availability"],
        "properties": {
            "deployment_type": {"enum": ["self_deployed", "externally_managed", "unknown"]},
            "model_availability": {"enum": ["open_weights", "closed_weights", "unknown"]},
        },
    },
)
_SOURCE = {
    "oneOf": [
        _object(
            ["dataset_name", "source_type", "url"],
            dataset_name=TEXT,
            source_type={"const": "url"},
            url={"type": "array", "items": TEXT, "minItems": 1},
            additional_details=DETAILS,
        ),
        _object(
            ["dataset_name", "source_type"],
            dataset_name=TEXT,
            source_type={"const": "hf_dataset"},
            hf_repo=TEXT,
            hf_split=TEXT,
            samples_number={"type": "integer"},
            sample_ids={"type": "array", "items": TEXT},
            additional_details=DETAILS,
        ),
        _object(
            ["dataset_name", "source_type"],
            dataset_name=TEXT,
            source_type={"const": "other"},
            additional_details=DETAILS,
        ),
    ]
}
_METRIC = _object(
    ["lower_is_better", "score_type", "min_score", "max_score"],
    evaluation_description=TEXT,
    metric_id=TEXT,
    metric_name=TEXT,
    metric_kind=TEXT,
    metric_unit=TEXT,
    metric_parameters={
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    },
    lower_is_better={"type": "boolean"},
    score_type={"const": "continuous"},
    min_score=_END,
    max_score=_END,
    additional_details=DETAILS,
)
_UNCERTAINTY = _object(
    [],
    standard_error=_object(["value"], value={"type": "number"}, method=TEXT),
    confidence_interval=_object(
        ["lower", "upper"],
        lower={"type": "number"},
        upper={"type": "number"},
        confidence_level={"type": "number", "minimum": 0, "maximum": 1},
        method=TEXT,
    ),
    standard_deviation={"type": "number"},
    num_samples={"type": "integer"},
    num_bootstrap_samples={"type": "integer"},
)

SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    **_object(
        [
            "schema_version",
            "evaluation_id",
            "retrieved_timestamp",
            "source_metadata",
            "model_info",
            "eval_library",
            "evaluation_results",
        ],
        schema_version=TEXT,
        evaluation_id=TEXT,
        evaluation_timestamp=TEXT,
        retrieved_timestamp=TEXT,
        source_metadata=_object(
            ["source_type", "source_organization_name", "evaluator_relationship"],
            source_name=TEXT,
            source_type={"enum": ["documentation", "evaluation_run"]},
            source_organization_name=TEXT,
            source_organization_url=TEXT,
            source_organization_logo_url=TEXT,
            evaluator_relationship={"enum": ["first_party", "third_party", "collaborative", "other"]},
            additional_details=DETAILS,
        ),
        eval_library=_object(["name", "version"], name=TEXT, version=TEXT, additional_details=DETAILS),
        model_info=_MODEL,
        evaluation_results={
            "type": "array",
            "minItems": 1,
            "items": _object(
                ["evaluation_name", "source_data", "metric_config", "score_details"],
                evaluation_result_id=TEXT,
                evaluation_name=TEXT,
                source_data=_SOURCE,
                evaluation_timestamp=TEXT,
                metric_config=_METRIC,
                score_details=_object(["score"], score={"type": "number"}, details=DETAILS, uncertainty=_UNCERTAINTY),
            ),
        },
    ),
}
