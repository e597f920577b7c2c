"""`python -m training`: everything in order; the exit status is 1 if a model misses its least score."""

import sys

from training.build import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
