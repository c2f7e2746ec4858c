"""The job that is submitted: `ray-userrep index`, whose --help says what it does."""

import sys

from ray_userrep.cli import main

if __name__ == "__main__":
    main(["index", *sys.argv[1:]])
