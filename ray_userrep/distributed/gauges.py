"""How a training goes and what a corpus rejected, as gauges among Ray's own metrics, which Prometheus scrapes.

They are set in the driver, by the records that come to it anyway, so that training knows nothing of them. Ray hands
them out some seconds later: a job that ends at once may never be seen.
"""

import string
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import ray
from ray.util.metrics import Gauge

_OF_RECORDS = {
    "loss": ("userrep_loss", "training loss, the mean since the last record"),
    "interactions_per_second": ("userrep_interactions_per_second", "interactions trained on in a second"),
    "data_wait": ("userrep_data_wait_share", "share of the time in which training waited for data"),
}


class TrainingGauges:
    """A sink of training records that shows the newest of each figure, by run."""

    def __init__(self, run_uri: str) -> None:
        self._tags = {"run": _ascii(run_uri)}
        self._gauges = {field: Gauge(name, told, tag_keys=("run",)) for field, (name, told) in _OF_RECORDS.items()}

    def __call__(self, record: dict[str, Any]) -> None:
        if record["kind"] == "train":
            for field, gauge in self._gauges.items():
                gauge.set(record[field], self._tags)


def show_quarantined(corpus_uri: str, reasons: Mapping[str, int]) -> None:
    """Show how many rows of a corpus's log were rejected for each reason; without Ray there is nobody to see it."""
    if not ray.is_initialized():
        return
    gauge = Gauge("userrep_quarantined", "rows of a log that were rejected", tag_keys=("corpus", "reason"))
    for reason, count in reasons.items():
        gauge.set(count, {"corpus": _ascii(corpus_uri), "reason": reason})


def _ascii(uri: str) -> str:
    """A place in the letters that Ray takes in a tag; others are as in a link."""
    return quote(uri, safe=f" {string.punctuation}")
