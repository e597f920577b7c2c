"""`python -m lynxbench` is `lynxbench`."""

from lynxbench.cli import main

if __name__ == "__main__":
    main()
