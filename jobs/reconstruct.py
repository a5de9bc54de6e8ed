"""Write codes, features and audio of a run: python jobs/reconstruct.py -w s3://bucket/bach

The options are those of `fadae reconstruct`.
"""

import typer

from fadae.cli import reconstruct, reporting

if __name__ == "__main__":
    typer.run(reporting(reconstruct))
