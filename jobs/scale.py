"""Train a ladder of sizes on growing data, fit its scaling law, and check it on runs that were predicted first.

    python jobs/scale.py [--recipe NAME|FILE] [--logs URI] [--corpus URI] --run URI [--scale.sizes '[3000, 30000]']

Naming the folder of an unfinished study resumes it. What is fixed at every point: catalogue, users of the validation
(split cold_user), item-table width, objective.
"""

from ray_userrep.command import run_job_with
from ray_userrep.recipe.scale import ScaleConfig
from ray_userrep.workflows.scale import run_scale

if __name__ == "__main__":
    run_job_with(run_scale, "scale", ScaleConfig, __doc__)
