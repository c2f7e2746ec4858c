"""What DeepSpeed says that is no news is not printed; everything else of it is."""

import importlib.util
import logging
from pathlib import Path

import ray_userrep.distributed  # noqa: F401

NO_NEWS = "Setting accelerator to CPU. If you have GPU or other accelerator, we were unable to detect it."


def passes(message: str) -> bool:
    record = logging.LogRecord("DeepSpeed", logging.WARNING, __file__, 1, message, None, None)
    return bool(logging.getLogger("DeepSpeed").filter(record))


def test_the_missing_gpu_is_no_news_and_other_warnings_are():
    assert not passes(NO_NEWS)
    assert passes("overflow detected, skipping the step")


def test_deepspeed_still_says_it_in_these_words():
    folder = Path(importlib.util.find_spec("deepspeed").origin).parent
    source = (folder / "accelerator" / "real_accelerator.py").read_text()
    assert NO_NEWS in source and 'name="DeepSpeed"' in (folder / "utils" / "logging.py").read_text()
