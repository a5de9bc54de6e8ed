"""`python -m fadae` is the command `fadae`."""

from fadae.cli.app import main

if __name__ == "__main__":
    main()
