"""`python -m fadae` is the command `fadae`."""

from fadae.cli import main

if __name__ == "__main__":
    main()
