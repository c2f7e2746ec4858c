"""`python -m ray_userrep.scaling fit points.csv`: the scaling law of anyone's runs."""

import argparse
import sys

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.scaling.law.law import RunSize, law_table, study_law
from ray_userrep.scaling.law.points import read_points


def main(argv: list[str]) -> int:
    """Run on the given arguments; a user's error is one line and exit code 2."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.draws < 1:
            raise UserError(f"--draws {arguments.draws}: intervals need draws; it takes 1 or more")
        places = [_place(text) for text in arguments.predict]
        told = study_law(read_points(arguments.points), places, arguments.budget, arguments.draws, arguments.seed)
        print(law_table(told))
        if arguments.json:
            storage.write_json(arguments.json, told)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ray_userrep.scaling", description=__doc__)
    fit = parser.add_subparsers(required=True, metavar="COMMAND").add_parser("fit", help="fit a law to points")
    fit.add_argument("points", help="CSV with columns N, D, loss and optionally C, seed, epochs or unique")
    fit.add_argument("--json", metavar="OUT", help="write everything there as JSON")
    fit.add_argument("--predict", nargs="+", action="extend", default=[], metavar="N,D", help="loss at these sizes")
    fit.add_argument(
        "--budget", nargs="+", action="extend", default=[], type=float, metavar="C", help="best N and D for these FLOPs"
    )
    fit.add_argument("--draws", type=int, default=1000, help="bootstrap draws (1000)")
    fit.add_argument("--seed", type=int, default=0, help="of the bootstrap (0)")
    return parser


def _place(text: str) -> RunSize:
    try:
        n, d = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--predict {text!r}: it takes N,D as in 1e6,1e9") from None
    return n, d


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
