"""The job that is submitted: `ray-userrep erase`, whose --help says what it does."""

import sys

from ray_userrep.cli import main

if __name__ == "__main__":
    main(["erase", *sys.argv[1:]])
