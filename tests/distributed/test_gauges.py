"""What a scraper of Ray's metrics reads is what was recorded last."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
import ray

from ray_userrep.distributed.gauges import TrainingGauges, show_quarantined

pytestmark = [pytest.mark.usefixtures("ray_session"), pytest.mark.system]

RECORD = {"kind": "train", "step": 1, "loss": 9.0, "interactions_per_second": 1.0, "data_wait": 0.5}
EXPECTED = {
    'userrep_loss{run="s3://b/run"}': 2.5,
    'userrep_interactions_per_second{run="s3://b/run"}': 1234.0,
    'userrep_data_wait_share{run="s3://b/run"}': 0.125,
    'userrep_quarantined{corpus="s3://b/corpus",reason="missing_item"}': 7.0,
    'userrep_quarantined{corpus="s3://b/K%C3%B6rper [1] 50%",reason="missing_user"}': 2.0,
}


def scraped() -> dict[str, float]:
    """Our gauges as the node hands them out, without the labels that Ray adds."""
    port = ray.nodes()[0]["MetricsExportPort"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    found = {}
    for line in lines:
        if line.startswith("ray_userrep_"):
            series, value = line.rsplit(" ", 1)
            name, labels = series.removeprefix("ray_").rstrip("}").split("{", 1)
            own = sorted(label for label in labels.split(",") if label.split("=")[0] in ("run", "corpus", "reason"))
            found[f"{name}{{{','.join(own)}}}"] = float(value)
    return found


def is_scraped() -> bool:
    try:
        scraped()
    except urllib.error.URLError:
        return False
    return True


def until(is_so: Callable[[], bool]) -> None:
    """Wait, a minute at most."""
    deadline = time.monotonic() + 60
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.5)


class Driver:
    """A process of its own: Ray's give up for good where their node's agent is not there within half a minute."""

    def record(self) -> None:
        gauges = TrainingGauges("s3://b/run")
        gauges(RECORD)
        gauges({"kind": "validation", "step": 1, "ndcg@10": 0.1})
        gauges(RECORD | {"loss": 2.5, "interactions_per_second": 1234.0, "data_wait": 0.125})
        show_quarantined("s3://b/corpus", {"missing_item": 7})
        show_quarantined("s3://b/Körper [1] 50%", {"missing_user": 2})


def test_what_is_scraped_is_the_newest_record():
    until(is_scraped)
    own_process = {"env_vars": {"OWN_PROCESS": "1"}}
    driver = ray.remote(num_cpus=0, runtime_env=own_process)(Driver).remote()
    ray.get(driver.record.remote())
    until(lambda: scraped() == EXPECTED)
    assert scraped() == EXPECTED
