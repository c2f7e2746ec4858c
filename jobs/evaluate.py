"""Measure an encoder on a corpus: full-catalogue ranking with intervals, beside tuned baselines.

python jobs/evaluate.py --encoder URI --output URI [--recipe NAME|FILE] [--logs URI] [--corpus URI]
"""

from ray_userrep.command import run_encoder_job
from ray_userrep.workflows.evaluate import run_evaluate

if __name__ == "__main__":
    run_encoder_job(run_evaluate, __doc__)
