"""Pictures as bytes: which can be used, and their pixels.

Formats and sizes are those that a shop's catalogue has. A picture is looked at whole before it is trusted, since a file
that was cut short has a header as good as any. What is refused is told in a few words, so that whoever reads a
catalogue counts it and goes on.

Shapes: S pixels a side.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_MOST_PIXELS = 2**25  # 100 MB as they are decoded
MEAN_RGB, DEVIATION_RGB = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # of ImageNet, whose models expect them taken off
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)  # what Pillow raises, by format


def unusable(data: bytes) -> str | None:
    """Why a picture cannot be used, in a few words; None where it can."""
    if not data:
        return "0 bytes"
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                return f"{picture.width} x {picture.height} pixels, more than {_MOST_PIXELS:,}"
            picture.load()
    except Image.DecompressionBombError:
        return f"more than {_MOST_PIXELS:,} pixels"
    except Image.UnidentifiedImageError:
        return f"no picture of a format among {', '.join(_FORMATS)}"
    except _BROKEN as error:
        return f"damaged ({' '.join(str(error).split())})"
    return None


def pixels_of(data: bytes, size: int) -> NDArray[np.uint8]:
    """The pixels of a usable picture, squeezed into a square, colours first, `[3, S, S]`."""
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        picture.draft("RGB", (size, size))  # a JPEG is decoded at a fraction of its size, where it is much larger
        square = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))
