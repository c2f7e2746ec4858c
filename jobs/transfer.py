"""Adapt a pretrained encoder to tasks and compare the ways to do it, over seeds and shares of labels.

    python jobs/transfer.py [--recipe NAME|FILE] [--logs URI] [--corpus URI] [--run URI] [--transfer.encoder URI]

Without an encoder the recipe pretrains one first. Naming the folder of an unfinished run resumes it.
"""

from ray_userrep.command import run_job
from ray_userrep.workflows.transfer import run_transfer

if __name__ == "__main__":
    run_job(run_transfer, __doc__)
