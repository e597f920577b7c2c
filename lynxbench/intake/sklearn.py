"""scikit-learn estimators and pipelines, through skl2onnx."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from lynxbench.intake.source import Array, Asked, Feed, Source, needs, own_model, wrong

RANDOM_SAMPLES = 64


def export_sklearn(asked: Asked) -> Source:
    """A fitted estimator as float32 [batch, features] → label and probabilities, or → the predicted number.

    Class scores come without the map that skl2onnx puts around them by default: an array, as tasks want it.
    """
    skl2onnx = needs("skl2onnx", "sklearn", asked.source)
    from sklearn.utils.validation import check_is_fitted

    model = own_model(asked.source)
    try:
        check_is_fitted(model)
        features = int(model.n_features_in_)
    except Exception as error:  # NotFittedError, or an estimator of no kind
        raise wrong(asked.source, f"is no fitted estimator: {error}", hint="return it after fit()") from None
    tensor = skl2onnx.common.data_types.FloatTensorType([None, features])
    options = {"zipmap": False} if hasattr(model, "classes_") else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converted = skl2onnx.convert_sklearn(
                model,
                initial_types=[("inputs", tensor)],
                options={id(model): options} if options else None,
                target_opset=asked.opset,
            )
    except Exception as error:  # one type for each converter that is missing
        text = " ".join(str(error).split())[:300]
        raise wrong(asked.source, f"skl2onnx cannot convert it: {text}") from None
    asked.path.write_bytes(converted.SerializeToString())
    outputs = [output.name for output in converted.graph.output]
    if asked.inputs is None:
        given, where = np.random.default_rng(0).normal(size=(RANDOM_SAMPLES, features)), "random"
    else:
        given, where = asked.inputs.reshape(len(asked.inputs), -1).astype(np.float64), "data"
        if given.shape[1] != features:
            raise wrong(asked.source, f"the data has {given.shape[1]} features", f"{features}, as it was fitted with")

    def answers(feed: Feed) -> Mapping[str, Array]:
        values = feed["inputs"]
        if not hasattr(model, "classes_"):
            return {outputs[0]: np.asarray(model.predict(values), dtype=np.float64)}
        found: dict[str, Array] = {outputs[0]: np.asarray(model.predict(values))}
        if hasattr(model, "predict_proba"):
            found[outputs[1]] = np.asarray(model.predict_proba(values))
        return found

    versions = {name: needs(name, "sklearn", asked.source).__version__ for name in ("sklearn", "skl2onnx")}
    return Source([{"inputs": given.astype(np.float32)}], answers, where, versions, {})
