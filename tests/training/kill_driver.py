"""The driver of a job that is to be killed, on a cluster that is there: `prepare` or `train`, from a JSON file.

While it trains, each rank notes the windows of every global batch that it begins, in a folder that all processes see.
"""

import json
import os
import sys
import time
from pathlib import Path

import ray

from ray_userrep.corpus.store import open_corpus
from ray_userrep.distributed import workers as distributed
from ray_userrep.feed.batch import START
from ray_userrep.logs.source import open_logs
from ray_userrep.prepare.prepare import prepare
from ray_userrep.recipe.corpus import CorpusConfig
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.recipe.recipe import Recipe

STEP_SECONDS = 0.05  # slow enough for a kill to hit a step


def noted(steps, rank, world, folder):
    """The same steps, each written down before it is trained on."""
    with (Path(folder) / f"{time.time():.6f}-{rank}-{os.getpid()}.jsonl").open("w") as file:
        for step in steps:
            windows = [
                [int(user), int(start), int(length)]
                for (view,) in step.micros.views
                if view.weight
                for user, start, length in zip(view.users_B, view.labels[START], view.lengths(), strict=True)
            ]
            entry = {"at": list(step.position), "rank": rank, "world": world, "time": time.time(), "windows": windows}
            file.write(json.dumps(entry) + "\n")
            file.flush()
            time.sleep(STEP_SECONDS)
            yield step


def observed(worker, folder):
    """A worker's function whose loop notes what it is given."""

    def run(job):
        from ray_userrep.training import fit

        class Watched(fit.Loop):
            def _run(self, steps):
                class Steps:
                    wait_seconds = 0.0

                    def __iter__(self_):
                        return noted(steps, self.engine.rank, self.engine.world, folder)

                super()._run(Steps())

        fit.Loop = Watched
        worker(job)

    return run


def main(job):
    ray.init(address=job["address"], log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    if job["what"] == "prepare":
        manifest = prepare(open_logs(LogsConfig(uri=job["logs"])), CorpusConfig(num_buckets=4), job["corpus"])
        print("done", manifest.content_fingerprint, flush=True)
        return
    distributed.work = observed(distributed.work, job["seen"])
    recipe = Recipe.model_validate(job["recipe"])
    say = lambda record: print(record["kind"], record["step"], flush=True)  # noqa: E731
    distributed.fit_distributed(recipe, open_corpus(job["corpus"]), job["run"], say)
    print("done", flush=True)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
