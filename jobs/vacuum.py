"""The job that is submitted: `ray-userrep vacuum`, whose --help says what it does."""

import sys

from ray_userrep.cli import main

if __name__ == "__main__":
    main(["vacuum", *sys.argv[1:]])
