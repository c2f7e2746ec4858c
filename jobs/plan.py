"""What a recipe takes on given hardware: memory by ZeRO stage, step time, hours, cost, the largest model that fits.

    python jobs/plan.py [--recipe NAME|FILE] --plan.gpu h100 --plan.nodes 4 [--run URI]

Without arguments: the default recipe on a log of a billion users and 10¹² interactions.
"""

from ray_userrep.command import run_job_with
from ray_userrep.planner.capacity import PlanConfig
from ray_userrep.workflows.plan import run_plan

if __name__ == "__main__":
    run_job_with(run_plan, "plan", PlanConfig, __doc__)
