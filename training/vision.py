"""Three image classifiers of like accuracy and unlike habits: plain, ReLU6 with depthwise, hard-swish with gates."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data import CLASSES, Images, normalize
from training.export import ConvNorm

EPOCHS = {"fashion-resnet8": 16, "fashion-mobilenetv2": 8, "fashion-mobilenetv3": 8}
"""The plain network learns more slowly, and takes a quarter of the time for each pass."""
BATCH = 128
PEAK_RATE = 0.1
WEIGHT_DECAY = 5e-4
SHIFT_PIXELS = 2


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al., 2015)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = ConvNorm(inputs, outputs, 3, stride)
        self.second = ConvNorm(outputs, outputs, 3)
        same = inputs == outputs and stride == 1
        self.shortcut: nn.Module = nn.Identity() if same else ConvNorm(inputs, outputs, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        """[n, inputs, h, w] to [n, outputs, h / stride, w / stride]."""
        changed = self.second(functional.relu(self.first(features)))
        return functional.relu(changed + self.shortcut(features))


class Gate(nn.Module):
    """Squeeze-and-excite: scale each channel by a number computed from all of them (Hu et al., 2017)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """[n, channels, h, w], the same shape out."""
        scale = functional.hardsigmoid(self.excite(functional.relu(self.squeeze(self.pool(features)))))
        return features * scale


class InvertedBlock(nn.Module):
    """Expand, filter each channel alone, project (Sandler et al., 2018; with a gate: Howard et al., 2019)."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, activation: type[nn.Module], gated: bool = False
    ) -> None:
        super().__init__()
        wide = 4 * inputs
        self.body = nn.Sequential(
            ConvNorm(inputs, wide, 1),
            activation(),
            ConvNorm(wide, wide, 3, stride, groups=wide),
            activation(),
            Gate(wide, wide // 4) if gated else nn.Identity(),
            ConvNorm(wide, outputs, 1),
        )
        self.residual = inputs == outputs and stride == 1

    def forward(self, features: Tensor) -> Tensor:
        """[n, inputs, h, w] to [n, outputs, h / stride, w / stride]."""
        projected: Tensor = self.body(features)
        return features + projected if self.residual else projected


def _head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)]


def resnet8() -> nn.Module:
    """ResNet-8, widths 16, 32 and 64: [n, 1, 28, 28] to logits [n, 10]."""
    blocks = [ResidualBlock(16, 16, 1), ResidualBlock(16, 32, 2), ResidualBlock(32, 64, 2)]
    return nn.Sequential(ConvNorm(1, 16, 3), nn.ReLU(), *blocks, *_head(64))


def mobilenetv2() -> nn.Module:
    """A small MobileNetV2 (ReLU6, expansion 4): [n, 1, 28, 28] to logits [n, 10]."""
    shapes = [(16, 24, 2), (24, 24, 1), (24, 32, 1), (32, 32, 1), (32, 48, 2), (48, 48, 1)]
    blocks = [InvertedBlock(inputs, outputs, stride, nn.ReLU6) for inputs, outputs, stride in shapes]
    return nn.Sequential(ConvNorm(1, 16, 3), nn.ReLU6(), *blocks, ConvNorm(48, 128, 1), nn.ReLU6(), *_head(128))


def mobilenetv3() -> nn.Module:
    """A small MobileNetV3 (hard-swish, gates): [n, 1, 28, 28] to logits [n, 10]."""
    act = nn.Hardswish
    blocks = [
        InvertedBlock(16, 24, 2, nn.ReLU),
        InvertedBlock(24, 24, 1, nn.ReLU),
        InvertedBlock(24, 40, 1, act, gated=True),
        InvertedBlock(40, 40, 1, act, gated=True),
        InvertedBlock(40, 48, 2, act),
        InvertedBlock(48, 48, 1, act, gated=True),
    ]
    return nn.Sequential(ConvNorm(1, 16, 3), act(), *blocks, ConvNorm(48, 128, 1), act(), *_head(128))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "fashion-resnet8": resnet8,
    "fashion-mobilenetv2": mobilenetv2,
    "fashion-mobilenetv3": mobilenetv3,
}


def _augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip half of the images and shift each by up to two pixels; [n, 1, 28, 28] in and out."""
    count, _, side, _ = images.shape
    flips = torch.rand(count, generator=generator) < 0.5
    images = torch.where(flips[:, None, None, None], images.flip(3), images)
    edge = float(images.min())
    padded = functional.pad(images, [SHIFT_PIXELS] * 4, value=edge)[:, 0]
    starts = torch.randint(0, 2 * SHIFT_PIXELS + 1, (2, count, 1), generator=generator)
    rows, columns = starts + torch.arange(side)
    cut = padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return cut[:, None]


def batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row numbers for one pass over `count` rows in a random order; a last, smaller batch is left out."""
    order = torch.randperm(count, generator=generator)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]


def accuracy(model: nn.Module, images: Images) -> float:
    """Share of images whose largest logit is the label's."""
    model.eval()
    pixels, labels = torch.from_numpy(normalize(images.pixels)), torch.from_numpy(images.labels)
    with torch.no_grad():
        found = torch.cat([model(part).argmax(1) for part in pixels.split(500)])
    return float((found == labels).float().mean())


def train(name: str, fit: Images, validation: Images, seed: int, fraction: float) -> nn.Module:
    """Train one of `MODELS`: SGD with Nesterov momentum on a one-cycle schedule.

    Args:
        name: a key of `MODELS`.
        fit: the images to learn from.
        validation: printed on, never learned from.
        seed: fixes the weights at the start, the order and the augmentation.
        fraction: share of the full number of epochs.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = MODELS[name]().to(memory_format=torch.channels_last)
    pixels, labels = torch.from_numpy(normalize(fit.pixels)), torch.from_numpy(fit.labels).long()
    epochs = max(1, round(EPOCHS[name] * fraction))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=PEAK_RATE, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    steps = epochs * (len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
    for epoch in range(epochs):
        model.train()
        for rows in batches(len(labels), BATCH, generator):
            inputs = _augment(pixels[rows], generator).contiguous(memory_format=torch.channels_last)
            # bfloat16 halves the time on processors that have it, and is the same sums, slower, on those without.
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(inputs)
            loss = functional.cross_entropy(logits.float(), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"{name}: epoch {epoch + 1}/{epochs}, validation top-1 {accuracy(model, validation):.4f}", flush=True)
    return model
