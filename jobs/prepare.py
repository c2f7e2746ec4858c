"""Prepare a log: validate, quarantine, number the items, sort each user's interactions, publish a corpus version.

python jobs/prepare.py --logs URI --corpus URI [--reader NAME]

The corpus folder then has report.html: what was read, set aside and split, and how long the tails are.
"""

from ray_userrep.command import run_job
from ray_userrep.workflows.prepare import run_prepare

if __name__ == "__main__":
    run_job(run_prepare, __doc__)
