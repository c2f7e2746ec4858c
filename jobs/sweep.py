"""The job that is submitted: `ray-userrep sweep`, whose --help says what it does."""

import sys

from ray_userrep.cli import main

if __name__ == "__main__":
    main(["sweep", *sys.argv[1:]])
