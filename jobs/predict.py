"""The job that is submitted: `ray-userrep predict`, whose --help says what it does."""

import sys

from ray_userrep.cli import main

if __name__ == "__main__":
    main(["predict", *sys.argv[1:]])
