"""Writing a synthetic log, and saying how well a model could do on it."""

import time

from ray_userrep import storage
from ray_userrep.logs.connection import connect, refuse_unshared
from ray_userrep.logs.synthetic.synthesize import DESCRIPTION, synthesize
from ray_userrep.recipe.logs import SyntheticConfig
from ray_userrep.report.results import Result


def run_synthesize(config: SyntheticConfig, output_uri: str) -> Result:
    """Write the log and say what the least possible loss is, and where the log lies."""
    connect()
    uri = storage.kept(output_uri)
    refuse_unshared(uri, "log", "--output")
    began = time.perf_counter()
    description = synthesize(config, uri)
    seconds = time.perf_counter() - began
    print(f"rows      {config.interactions:,} in {seconds:.1f} s ({config.interactions / seconds:,.0f} rows/s)")
    for known, nats in description["floors_nats"].items():
        print(f"floor     {known:12s} {nats:.4f} nats")
    print(f"floor     {'this log':12s} {description['floor_nats']:.4f} nats, over all but the users' first items")
    print(f"log       {uri} (see {DESCRIPTION})")
    return {"job": "synthesize", "output": uri, "seconds": seconds} | description
