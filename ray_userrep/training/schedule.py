"""Learning rate as a pure function of the step: nothing to save, nothing to restore."""

import math

from ray_userrep.recipe.train import ScheduleConfig


def scheduled_rate(config: ScheduleConfig, peak: float, step: int, total: int) -> float:
    """The rate of step `step` (from 0) of `total`.

    Warm-up is linear to the peak; `cosine` falls to `floor * peak` at the last step; `wsd` stays and then falls
    linearly (Hu et al. 2024, MiniCPM, section 4).
    """
    warmup = round(config.warmup_share * total)
    if step < warmup:
        return peak * (step + 1) / warmup
    if config.kind == "constant":
        return peak
    if config.kind == "cosine":
        share = (step - warmup) / max(1, total - 1 - warmup)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    else:
        decay = max(1, round(config.decay_share * total))
        fall = min(1.0, (total - 1 - step) / decay)
    return peak * (config.floor + (1 - config.floor) * fall)
