"""Compact a corpus: the files that appends left in each bucket become one, as a new version of the same content.

python jobs/compact.py --corpus URI
"""

from ray_userrep.command import run_job
from ray_userrep.workflows.compact import run_compact

if __name__ == "__main__":
    run_job(run_compact, __doc__)
