"""Hugging Face Transformers' encoders and decoders, through torch, with their tokenizer beside them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from lynxbench.intake.decoders import export_decoder
from lynxbench.intake.source import Asked, Feed, Source, needs, wrong
from lynxbench.intake.torch import answers_of, versions, write

# Task → the class that loads it, and the outputs that count.
_TASKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "text-classification": ("AutoModelForSequenceClassification", ("logits",)),
    "token-classification": ("AutoModelForTokenClassification", ("logits",)),
    "question-answering": ("AutoModelForQuestionAnswering", ("start_logits", "end_logits")),
    "text-retrieval": ("AutoModel", ("last_hidden_state",)),
    "language-modelling": ("AutoModelForCausalLM", ("logits",)),
    "generation": ("AutoModelForCausalLM", ("logits",)),
}
_SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Measured at a batch of one, it was twice as fast.",
    "No.",
    "What does a smaller number cost, and who pays for it in the end?",
)


def export_transformers(asked: Asked) -> Source:
    """A model from a folder that `save_pretrained` wrote, or from the hub as NAME@REVISION: input_ids and
    attention_mask, [batch, length] both free, → the outputs of its task (for generation with a cache
    of keys and values). `tokenizer.json` goes beside the ONNX file.
    """
    torch = needs("torch", "transformers", asked.source)
    transformers = needs("transformers", "transformers", asked.source)
    needs("onnxscript", "transformers", asked.source)
    if asked.task not in _TASKS:
        raise wrong(asked.source, "which task is it for?", "--task with one of: " + ", ".join(_TASKS))
    loader, outputs = _TASKS[asked.task]
    # What it tells while it loads is about its own workings.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    name, _, revision = asked.source.partition("@")
    options: dict[str, Any] = {"revision": revision} if revision else {}
    try:
        # Code from a hub is never run, and weights are read as safetensors alone: a pickle may run anything.
        model = getattr(transformers, loader).from_pretrained(
            name, attn_implementation="eager", use_safetensors=True, dtype=torch.float32, **options
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
        fast = tokenizer.backend_tokenizer.to_str()
    except Exception as error:  # OSError, ValueError, and what the hub raises
        text = " ".join(str(error).split())[:300]
        raise wrong(
            asked.source, f"cannot be loaded: {text}", hint="a folder with config, safetensors, tokenizer"
        ) from None
    pairs = [
        (text, other) for text, other in zip(asked.texts or _SENTENCES, (asked.texts or _SENTENCES)[1:], strict=False)
    ]
    texts = pairs if asked.task == "question-answering" else list(asked.texts or _SENTENCES)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    found = {**versions(asked.source), "transformers": str(transformers.__version__)}
    where, beside = "data" if asked.texts else "example", {"tokenizer.json": _plain(fast)}
    if asked.task == "generation":
        # An answer goes on where the prompt ends, so prompts are filled up on the left.
        tokenizer.padding_side = "left"
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=asked.max_length, return_tensors="np")
    names = [key for key in ("input_ids", "attention_mask", "token_type_ids") if key in encoded]
    feed: Feed = {key: np.asarray(encoded[key], dtype=np.int64) for key in names}
    if asked.task == "generation":
        feeds, answers = export_decoder(torch, transformers, model.eval(), feed, asked)
        return Source(feeds, answers, where, found, beside)
    module = _Chosen(torch, model.eval(), names, outputs)
    examples = [torch.from_numpy(feed[key]) for key in names]
    write(torch, module, examples, names, asked, dynamic=[{0: "batch", 1: "length"}] * len(names))
    _rename_outputs(asked, outputs)
    answers = answers_of(torch, module, names, asked.path)
    return Source([feed], answers, where, found, beside)


def _Chosen(torch: Any, model: Any, names: list[str], outputs: tuple[str, ...]) -> Any:  # noqa: N802 - makes a module
    """The model as a module from the named tensors, by position, to the chosen outputs."""

    class Chosen(torch.nn.Module):  # type: ignore[misc]
        takes_any_number = True

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> Any:
            options = {"use_cache": False} if getattr(model.config, "use_cache", False) else {}
            found = self.model(**dict(zip(names, tensors, strict=True)), **options)
            return tuple(found[name] for name in outputs)

    return Chosen()


def _rename_outputs(asked: Asked, outputs: tuple[str, ...]) -> None:
    """The outputs' own names, which tasks and readers know them by."""
    import onnx

    model = onnx.load(asked.path)
    given = {output.name: name for output, name in zip(model.graph.output, outputs, strict=True)}
    for node in model.graph.node:
        node.output[:] = [given.get(name, name) for name in node.output]
        node.input[:] = [given.get(name, name) for name in node.input]
    for output in model.graph.output:
        output.name = given[output.name]
    onnx.save(model, asked.path)


def _plain(tokenizer: str) -> bytes:
    """Without the cut and the filling of the batch that was just encoded: a suite declares its own."""
    declared = json.loads(tokenizer)
    declared["truncation"] = None
    return json.dumps(declared, ensure_ascii=False).encode()
