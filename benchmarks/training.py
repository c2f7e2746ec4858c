"""Training speed of SASRec beside RecTools, RecBole and RePlay: trained interactions a second.

    python benchmarks/training.py [--data beauty ml1m] [--losses full sampled] [--seconds 15] [--ray]

All systems train on the same interactions with the same width, depth, heads, feed-forward, dropout, users a step and
threads, each in a process and an environment of its own, which is made where it is missing, and bound to as many cores
as it has threads; in turn, several times over; medians count. The feed-forward of RecTools' flat network is four times
as wide, which it does not let one choose. The peers have dropout in attention as well; where they are named `attention
whole` they have not. Only real targets are counted, and the first `--warmup-seconds` of each process left out; running
out of memory is a result. Our side is the bare loop, with `--ray` also one worker of Ray Train. Figures go to
`--results`, training.json; where one of our steps goes, to docs/images/training_profile.png.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from peers.cases import HERE, head, prepared, shared_arguments
from peers.inside import look
from peers.runs import BARE, RAY, SYSTEMS, Row, measured, table

from ray_userrep.recipes.sasrec import sasrec
from ray_userrep.report.figures import save

IMAGES = HERE.parent / "docs" / "images"
BUSY = 0.5  # load: threads that wait for each other lose far more than their share to anything else that runs


def main() -> None:
    options = arguments()
    if os.getloadavg()[0] > BUSY:
        print(f"this machine is at work (load {os.getloadavg()[0]:.1f}): figures mean little", flush=True)
    systems = [name for name in SYSTEMS if name.split(",")[0] in options.systems and (options.ray or name != RAY)]
    rows: dict[str, dict[str, Row]] = {}
    result = head(options) | {"cases": rows}
    with tempfile.TemporaryDirectory() as scratch:
        cases, run = prepared(options, Path(scratch))
        for case in cases:
            rows[case.name] = measured(case, systems, options.repeats, run)
            write(result, options.results)
        if BARE in systems:
            result["peak_flops_per_second"], drawing = look(cases, rows, run)
            save(drawing, IMAGES / "training_profile.png")
            write(result, options.results)
    print(table(rows))


def arguments() -> argparse.Namespace:
    parser = shared_arguments(__doc__.splitlines()[0])
    parser.add_argument("--ray", action="store_true", help="also our side on one worker of Ray Train")
    parser.add_argument("--seconds", type=float, default=15, help="counted, of a system and case in a repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--warmup-seconds", type=float, default=5)
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of the peers: the default of all three")
    parser.add_argument("--our-learning-rate", type=float, default=sasrec().train.learning_rate, help="the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count()], help="of a process, in turn")
    parser.set_defaults(evaluate_every=None, evaluated_users=0, patience=0)
    return parser.parse_args()


def write(result: dict[str, Any], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "training.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
