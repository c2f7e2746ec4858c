"""Learn tasks one after the other and measure what is forgotten, with masks (Conure) and without.

    python jobs/continual.py --recipe conure [--logs URI] [--corpus URI] [--run URI] [--continual.tasks JSON]

Tasks are given in their order, as in '[{"task": {"kind": "next_item"}}, {"task": {"kind": "attribute", "attributes":
["age"]}}, {"task": {"kind": "next_item"}, "corpus": "corpora/shop"}]'; other corpora are prepared before.

Naming the folder of an unfinished run resumes it.
"""

from ray_userrep.command import run_job
from ray_userrep.workflows.continual import run_continual

if __name__ == "__main__":
    run_job(run_continual, __doc__)
