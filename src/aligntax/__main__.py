"""`python -m aligntax` is `aligntax`."""

from .cli import main

if __name__ == "__main__":
    main()
