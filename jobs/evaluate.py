"""Measure an encoder on a corpus: full-catalogue ranking with intervals, beside tuned baselines.

python jobs/evaluate.py --encoder URI --output URI [--recipe NAME|FILE] [--logs URI] [--corpus URI]
"""

from ray_userrep.command import parse, run, take
from ray_userrep.workflows.evaluate import run_evaluate


def main(argv: list[str]) -> None:
    own, rest = take(argv, ["encoder", "output"])
    run_evaluate(parse(rest, __doc__), own["encoder"], own["output"])


if __name__ == "__main__":
    run(main)
