"""`python -m askmask` is the command line."""

from askmask.cli import main

if __name__ == "__main__":
    main()
