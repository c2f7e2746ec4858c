"""`python -m ray_userrep JOB …`, the same as `ray-userrep JOB …`."""

from ray_userrep.cli import main

if __name__ == "__main__":
    main()
