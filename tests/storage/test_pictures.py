"""Pictures that cannot be used say why; the pixels of others are those that were drawn."""

import io

import numpy as np
import pytest
from PIL import Image

from ray_userrep.storage.pictures import pixels_of, unusable
from tests.pictures import drawn


def huge() -> bytes:
    """A file of a few kilobytes that decodes to a hundred million pixels."""
    target = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(target, "PNG")
    return target.getvalue()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_cannot_be_used_says_why():
    assert unusable(b"") == "0 bytes"
    assert unusable(b"<svg>not these</svg>").startswith("no picture of a format among JPEG")
    assert unusable(huge()) == "10000 x 10000 pixels, more than 33,554,432"
    jpeg = drawn(1, "JPEG", (200, 200))
    assert unusable(jpeg[: len(jpeg) * 7 // 8]).startswith("damaged")
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        assert unusable(drawn(1, kind)) is None, kind


def test_pixels_are_squeezed_into_a_square_with_colours_first():
    pixels = pixels_of(drawn(3), 32)
    rng = np.random.default_rng(3)
    below, above = rng.integers(0, 256, 3), rng.integers(0, 256, 3)
    assert pixels.shape == (3, 32, 32) and pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[:, 2, 5], above)
    np.testing.assert_array_equal(pixels[:, -3, 5], below)
