"""Pretrain a user encoder and measure it; without arguments on the embedded Online Retail log, end to end.

    python jobs/pretrain.py [--recipe NAME|FILE] [--logs URI] [--corpus URI] [--run URI]

Naming the folder of an unfinished run resumes it.
"""

from ray_userrep.command import run_job
from ray_userrep.workflows.pretrain import run_pretrain

if __name__ == "__main__":
    run_job(run_pretrain, __doc__)
