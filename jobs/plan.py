"""The job that is submitted: `ray-userrep plan`, whose --help says what it does."""

import sys

from ray_userrep.cli import main

if __name__ == "__main__":
    main(["plan", *sys.argv[1:]])
