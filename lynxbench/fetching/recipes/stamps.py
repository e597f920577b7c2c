"""Image classification: Tux Paint's stamps, photos and drawings cut out of their backgrounds, by ImageNet's classes.

Which stamp shows which class: `stamp_labels`. Photos that show none of them are what schemes are calibrated on.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lynxbench.errors import FetchError, UntrustedInput
from lynxbench.fetching.archives import read_members
from lynxbench.fetching.recipes.stamp_labels import CLASSES, DRAWN

FOLDER = "usr/share/tuxpaint/stamps/"
SIDE_PIXELS = 224
LARGEST_PIXELS = 4096 * 4096  # of a stamp
WHITE = (255, 255, 255, 255)
# Where photos lie that no class is named for: without flags, planets, letters and what else is drawn.
CALIBRATION = ("animals", "food", "hobbies", "household", "medical", "military", "plants", "sports", "vehicles")


def make(archives: Mapping[str, Path], folder: Path) -> None:
    """stamps-test.npz and stamps-calibration.npz: images [n, 224, 224, 3] uint8, and labels of the first."""
    archive = archives["tuxpaint-stamps-default"]
    found = read_members(archive, lambda name: name.startswith(FOLDER) and name.endswith(".png"))
    pictures = {name.removeprefix(FOLDER).removesuffix(".png"): content for name, content in found.items()}
    labels = {stamp: number for number, (_, stamps) in CLASSES.items() for stamp in stamps.split()}
    absent = sorted(labels.keys() - pictures.keys())
    if absent:
        raise UntrustedInput(f"{archive.name}: it has no {absent[0]}.png; nothing of it was used")
    asked = sorted(labels)
    np.savez_compressed(
        folder / "stamps-test.npz",
        ids=np.asarray(asked),
        look=np.asarray(["drawing" if is_drawn(stamp) else "photo" for stamp in asked]),
        subject=np.asarray([stamp.split("/")[0] for stamp in asked]),
        named=np.asarray([CLASSES[labels[stamp]][0] for stamp in asked]),
        labels=np.asarray([labels[stamp] for stamp in asked], dtype=np.int64),
        images=np.stack([on_white(pictures[stamp], stamp) for stamp in asked]),
    )
    kept = sorted(stamp for stamp in pictures.keys() - labels.keys() if is_calibrated_on(stamp))
    np.savez_compressed(
        folder / "stamps-calibration.npz",
        ids=np.asarray(kept),
        subject=np.asarray([stamp.split("/")[0] for stamp in kept]),
        images=np.stack([on_white(pictures[stamp], stamp) for stamp in kept]),
    )


def is_drawn(stamp: str) -> bool:
    """Whether a stamp is a drawing."""
    return "cartoon" in stamp.split("/") or stamp in DRAWN


def is_calibrated_on(stamp: str) -> bool:
    """Whether a stamp that is not asked is a photo to calibrate on; the mirror image of one that is asked is none."""
    return stamp.startswith(CALIBRATION) and not is_drawn(stamp) and not stamp.endswith("_mirror")


def on_white(content: bytes, name: str) -> npt.NDArray[np.uint8]:
    """[224, 224, 3]: the picture on a white square that its longer side fills, with its own proportions.

    Raises `FetchError` without Pillow, `UntrustedInput` for what is no picture.
    """
    try:
        from PIL import Image
    except ImportError:
        raise FetchError("pictures need Pillow\n  try       pip install 'lynxbench[images]'") from None
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as opened:
            if opened.width * opened.height > LARGEST_PIXELS:
                raise ValueError(f"{opened.width} × {opened.height} pixels are too many")
            picture = opened.convert("RGBA")
    except Exception as error:  # Pillow raises a different type for each kind of damage
        raise UntrustedInput(f"{name}.png is no sound picture: {error}; nothing of it was used") from None
    scale = SIDE_PIXELS / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    square = Image.new("RGBA", (SIDE_PIXELS, SIDE_PIXELS), WHITE)
    square.alpha_composite(picture, ((SIDE_PIXELS - width) // 2, (SIDE_PIXELS - height) // 2))
    return np.asarray(square.convert("RGB"), dtype=np.uint8)
