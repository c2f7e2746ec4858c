"""Write a synthetic log with planted structure, partitioned by date, and the least loss that is possible on it.

python jobs/synthesize.py --output URI [--interactions 20000000] [--users 1000000] [--items 1000000] [--seed 0]
"""

from ray_userrep.command import run_config_job
from ray_userrep.recipe.logs import SyntheticConfig
from ray_userrep.workflows.synthesize import run_synthesize

if __name__ == "__main__":
    run_config_job(run_synthesize, SyntheticConfig, __doc__)
