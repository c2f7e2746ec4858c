"""How hard a device works; the count of FLOPs itself is held to torch's in the tests of the planner."""

import numpy as np
import torch

from ray_userrep.training.effort import Effort, peak_memory, product_rate

CPU = torch.device("cpu")


def test_a_rate_is_told_as_flops_and_as_their_share():
    told = Effort(CPU, 1e6, 1e9).told(250.0)
    assert told["flops_per_second"] == 2.5e8 and told["flop_utilisation"] == 0.25
    assert told["peak_memory_bytes"] >= 10**7
    assert set(Effort(CPU, None, None).told(250.0)) == {"peak_memory_bytes"}


def test_a_product_rate_is_that_of_a_processor():
    assert 1e9 < product_rate(CPU, torch.float32) < 1e14


def test_memory_that_a_process_has_had_stays_told():
    before = peak_memory(CPU)
    held = np.ones(2**25)
    after = peak_memory(CPU)
    del held
    assert after >= before and peak_memory(CPU) >= after
