"""Extract features of what is ingested: python jobs/extract.py -w s3://bucket/bach

The options are those of `fadae extract`.
"""

import typer

from fadae.cli import extract, reporting

if __name__ == "__main__":
    typer.run(reporting(extract))
