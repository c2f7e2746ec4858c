"""Write the vector of every user of a corpus as Parquet.

python jobs/embed.py --encoder URI --output URI [--recipe NAME|FILE] [--logs URI] [--corpus URI]
"""

from ray_userrep.command import parse, run, take
from ray_userrep.workflows.embed import run_embed


def main(argv: list[str]) -> None:
    own, rest = take(argv, ["encoder", "output"])
    run_embed(parse(rest, __doc__), own["encoder"], own["output"])


if __name__ == "__main__":
    run(main)
