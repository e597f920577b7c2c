"""An image embedding for instance retrieval: a corrupted view must land nearest to its own clean image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data import CLASSES, PIXEL_DEVIATION, PIXEL_MEAN, Images
from training.export import ConvNorm
from training.views import corrupt
from training.vision import ResidualBlock, batches

DIMENSIONS = 64
EPOCHS = 6
BATCH = 256
PEAK_RATE = 2e-3
WEIGHT_DECAY = 1e-4
TEMPERATURE = 0.1
CLASS_WEIGHT = 0.1
"""Share of the classification loss: it keeps the neighbours of an image within its class."""
STRENGTH = 1.2
"""Views in training are somewhat stronger than those the model is scored on."""

QUERIES = 2_000
QUERY_SEED = 64


class Embedder(nn.Module):
    """A small residual network with a normalized output."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [ResidualBlock(16, 24, 2), ResidualBlock(24, 48, 2), ResidualBlock(48, 64, 2)]
        self.features = nn.Sequential(ConvNorm(1, 16, 3), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.projection = nn.Linear(64, DIMENSIONS)

    def forward(self, images: Tensor) -> Tensor:
        """Normalized pixels [n, 1, 28, 28] to embeddings [n, 64] of length 1."""
        projected: Tensor = self.projection(self.features(images))
        return projected / torch.linalg.vector_norm(projected, dim=1, keepdim=True)


def normalized(pixels: Tensor) -> Tensor:
    """Pixels 0–1 to what the model takes."""
    return (pixels - PIXEL_MEAN) / PIXEL_DEVIATION


def contrastive_loss(clean: Tensor, viewed: Tensor) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al., 2018) between two aligned batches of embeddings [n, 64]."""
    similarity = clean @ viewed.T / TEMPERATURE
    rows = torch.arange(len(clean))
    return (functional.cross_entropy(similarity, rows) + functional.cross_entropy(similarity.T, rows)) / 2


def queries(images: Images) -> tuple[Tensor, Tensor]:
    """The first 2,000 images, clean and under moderate corruption: both float [2000, 1, 28, 28], normalized."""
    clean = torch.from_numpy(images.pixels[:QUERIES]).float()[:, None] / 255
    viewed = corrupt(clean, 1.0, torch.Generator().manual_seed(QUERY_SEED))
    return normalized(clean), normalized(viewed)


def recall_at_1(database: Tensor, viewed: Tensor) -> float:
    """Share of queries whose nearest embedding in the database is their own image's; both [n, 64]."""
    return float(((viewed @ database.T).argmax(1) == torch.arange(len(viewed))).float().mean())


def _validate(model: nn.Module, validation: Images) -> float:
    model.eval()
    with torch.no_grad():
        clean, viewed = (torch.cat([model(part) for part in images.split(500)]) for images in queries(validation))
    return recall_at_1(clean, viewed)


def train(fit: Images, validation: Images, seed: int, fraction: float) -> nn.Module:
    """Train the embedder with AdamW on a one-cycle schedule.

    Args:
        fit: the images to learn from.
        validation: printed on, never learned from.
        seed: fixes the weights at the start, the order and the views.
        fraction: share of the full number of epochs.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Embedder().to(memory_format=torch.channels_last)
    classifier = nn.Linear(DIMENSIONS, CLASSES)
    pixels = torch.from_numpy(fit.pixels)
    labels = torch.from_numpy(fit.labels).long()
    epochs = max(1, round(EPOCHS * fraction))
    parameters = [*model.parameters(), *classifier.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=epochs * (len(labels) // BATCH))
    for epoch in range(epochs):
        model.train()
        for rows in batches(len(labels), BATCH, generator):
            clean = pixels[rows].float()[:, None] / 255
            both = normalized(torch.cat([clean, corrupt(clean, STRENGTH, generator)]))
            with torch.autocast("cpu", torch.bfloat16):
                embeddings = model(both.contiguous(memory_format=torch.channels_last))
            embeddings = embeddings.float()
            first, second = embeddings.chunk(2)
            classified = functional.cross_entropy(classifier(embeddings) / TEMPERATURE, labels[rows].repeat(2))
            loss = contrastive_loss(first, second) + CLASS_WEIGHT * classified
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        recall = _validate(model, validation)
        print(f"fashion-embedder: epoch {epoch + 1}/{epochs}, validation recall@1 {recall:.4f}", flush=True)
    return model
