"""A character transformer that solves chains of arithmetic by writing out every running total."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.problems import (
    LENGTH,
    MOST_STEPS,
    PAD,
    PROMPT_LENGTH,
    TOKENS,
    draw_problems,
    encode_prompts,
    random_ids,
)

WIDTH, HEADS, LAYERS, INNER = 80, 4, 4, 320
STEPS = 3_000
WARM_UP_STEPS = 50
DECAY_SHARE = 0.5
BATCH = 128
MUON_RATE, ADAM_RATE = 0.02, 3e-3
MUON_DECAY = 0.01
"""Below PyTorch's default of 0.1, with which a 107 k model's loss still stood at 0.62 when stopped at step 2,750."""
OPERATOR_SHARES = (0.25, 0.25, 0.5)
"""Of "+", "-" and "*" in training: products are the last thing learned. The shipped files hold as many of each."""
MASKED = -1e4
"""What the causal mask adds. Large on purpose: it stretches an activation range, as exported models in the wild do."""


def _layout() -> tuple[Tensor, Tensor, Tensor]:
    """Three embedding rows for each of the 51 positions: the step that uses the token, the step it helps predict next
    (0 in the prompt), and its part in the slot.

    A running total shares its slot with the operand that it is combined with. Without such coupling (Cho et al., 2024,
    "Position coupling") so small a model hardly learns which operand comes next.
    """
    uses, predicts, parts = [], [], []
    for position in range(LENGTH):
        if position < PROMPT_LENGTH:
            uses.append(max(1, (position + 1) // 3))
            predicts.append(0)
            parts.append((position + 1) % 3)
        else:
            uses.append((position - PROMPT_LENGTH) // 3 + 2)
            parts.append(3 + (position - PROMPT_LENGTH) % 3)
            predicts.append(min((position + 1 - PROMPT_LENGTH) // 3 + 1, MOST_STEPS))
    predicts[PROMPT_LENGTH - 1] = 1
    # The first operand is the first step's running total: its digits get the parts that a total's digits have.
    parts[0], parts[1] = 4, 3
    return torch.tensor(uses), torch.tensor(predicts), torch.tensor(parts)


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer, each on a normalized input and added to it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.wide, self.narrow = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)

    def _attend(self, features: Tensor, mask: Tensor) -> Tensor:
        def heads(projected: Tensor) -> Tensor:
            return projected.reshape(-1, LENGTH, HEADS, WIDTH // HEADS).transpose(1, 2)

        query, key, value = heads(self.query(features)), heads(self.key(features)), heads(self.value(features))
        scores = query @ key.transpose(2, 3) / math.sqrt(WIDTH // HEADS) + mask
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(-1, LENGTH, WIDTH)
        projected: Tensor = self.output(mixed)
        return projected

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """[n, 51, 80] and the mask [51, 51] to [n, 51, 80]."""
        features = features + self._attend(self.norm1(features), mask)
        inner = functional.gelu(self.wide(self.norm2(features)), approximate="tanh")
        changed: Tensor = features + self.narrow(inner)
        return changed


class Transformer(nn.Module):
    """Four pre-normalized layers over a fixed layout of 51 positions."""

    mask: Tensor
    uses: Tensor
    predicts: Tensor
    parts: Tensor

    def __init__(self) -> None:
        super().__init__()
        uses, predicts, parts = _layout()
        self.register_buffer("uses", uses)
        self.register_buffer("predicts", predicts)
        self.register_buffer("parts", parts)
        self.register_buffer("mask", torch.full((LENGTH, LENGTH), MASKED).triu(1))
        self.token = nn.Embedding(TOKENS, WIDTH)
        self.use = nn.Embedding(MOST_STEPS + 2, WIDTH)
        self.predict = nn.Embedding(MOST_STEPS + 1, WIDTH)
        self.part = nn.Embedding(6, WIDTH)
        for embedding in (self.token, self.use, self.predict, self.part):
            nn.init.normal_(embedding.weight, std=0.5)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, TOKENS)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids int64 [n, 51] to logits [n, 51, 18]; those at t predict the id at t + 1."""
        places = self.use(self.uses) + self.predict(self.predicts) + self.part(self.parts)
        features = self.token(ids) + places
        for block in self.blocks:
            features = block(features, self.mask)
        logits: Tensor = self.head(self.norm(features))
        return logits


def _training_batch(generator: np.random.Generator, reserved: set[bytes]) -> NDArray[np.int64]:
    """128 solved problems, 1 to 8 steps each, none of whose prompts is in the shipped files."""
    rows: list[NDArray[np.int64]] = []
    while len(rows) < BATCH:
        # The larger of two numbers: long chains fill the fixed length better and teach more in the same time.
        steps = generator.integers(1, MOST_STEPS + 1, (BATCH - len(rows), 2)).max(1)
        drawn = random_ids(generator, steps, OPERATOR_SHARES)
        rows.extend(row for row in drawn if row[:PROMPT_LENGTH].tobytes() not in reserved)
    return np.stack(rows)


def _rate(step: int, steps: int) -> float:
    """Factor of the learning rate: a short rise, a plateau, a linear fall over the last half."""
    return min(1.0, (step + 1) / WARM_UP_STEPS, (steps - step) / (DECAY_SHARE * steps))


def _optimizers(
    model: Transformer, steps: int
) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.LambdaLR]]:
    """Muon for the blocks' matrices, AdamW for the rest."""
    matrices = [parameter for parameter in model.blocks.parameters() if parameter.ndim == 2]
    known = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=MUON_DECAY),
        torch.optim.AdamW(rest, lr=ADAM_RATE, weight_decay=0.01),
    ]
    schedules = [torch.optim.lr_scheduler.LambdaLR(each, lambda step: _rate(step, steps)) for each in optimizers]
    return optimizers, schedules


def train(seed: int, fraction: float) -> nn.Module:
    """Train the transformer on problems drawn afresh for each step.

    Args:
        seed: fixes the weights at the start and the problems.
        fraction: share of the full number of steps.
    """
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    test, calibration = draw_problems()
    reserved = {row[:PROMPT_LENGTH].tobytes() for row in encode_prompts([*test, *calibration])}
    model = Transformer()
    steps = max(1, round(STEPS * fraction))
    optimizers, schedules = _optimizers(model, steps)
    for step in range(steps):
        ids = torch.from_numpy(_training_batch(generator, reserved))
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(ids)
        # Only what is generated counts: the prompt is random, and nothing follows the solution's end.
        written = logits[:, PROMPT_LENGTH - 1 : -1].float().flatten(0, 1)
        loss = functional.cross_entropy(written, ids[:, PROMPT_LENGTH:].flatten(), ignore_index=PAD)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        if (step + 1) % 250 == 0 or step + 1 == steps:
            print(f"arithmetic-transformer: step {step + 1}/{steps}, loss {loss.item():.4f}", flush=True)
    return model
