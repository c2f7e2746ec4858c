"""The same records on a terminal and in a log."""

import io

from ray_userrep.training.console import Console
from ray_userrep.training.records import progress_line

TRAIN = {
    "kind": "train", "step": 20, "total_steps": 80, "epoch": 0.5, "loss": 2.5, "interactions_per_second": 1234.0,
    "data_wait": 0.25, "seconds_left": 61.0,
}  # fmt: skip
VALIDATION = {"kind": "validation", "step": 40, "seconds": 9.0, "stopped": False, "best": True, "ndcg@10": 0.125}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO) -> str:
    with Console(stream) as console:
        for record in (TRAIN, VALIDATION, TRAIN | {"step": 60, "seconds_left": 30.0}):
            console(record)
    return stream.getvalue()


def test_a_log_has_a_line_a_record():
    train, validation, _ = (" ".join(line.split()) for line in shown(io.StringIO()).splitlines())
    assert train == "step 20/80 25% loss 2.5000 1,234 interactions/s waiting for data 25% left 1:01"
    assert validation == "step 40 validation ndcg@10 0.1250 best so far"


def test_how_hard_a_device_works_is_told_where_it_is_known():
    known = TRAIN | {"flop_utilisation": 0.42, "peak_memory_bytes": 1.5e9}
    assert "1,234 interactions/s  42% of peak FLOP/s  1.5 GB memory  waiting" in progress_line(known)
    assert "1,234 interactions/s  1.5 GB memory  waiting" in progress_line(TRAIN | {"peak_memory_bytes": 1.5e9})


def test_a_large_table_is_warned_of_where_all_of_its_gradient_is_exchanged():
    model = {"kind": "model", "step": 0, "embedding": 64 * 10**6, "backbone": 10**5}
    assert "the item table is 640 times the backbone" in progress_line(model)
    assert "warning" not in progress_line(model | {"in_rows": 64 * 10**6})


def test_a_terminal_has_a_bar_and_a_line_a_validation():
    text = shown(Terminal())
    assert (
        "75%" in text
        and "left 0:30" in text
        and "1,234 interactions/s" in text
        and "," not in text.replace("1,234", "")
    )
    kept = [line for line in text.replace("\r", "\n").splitlines() if "validation" in line]
    assert len(kept) == 1 and "best so far" in kept[0]
