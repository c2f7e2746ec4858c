"""Write the vector of every user of a corpus as Parquet.

python jobs/embed.py --encoder URI --output URI [--recipe NAME|FILE] [--logs URI] [--corpus URI]
"""

from ray_userrep.command import run_encoder_job
from ray_userrep.workflows.embed import run_embed

if __name__ == "__main__":
    run_encoder_job(run_embed, __doc__)
