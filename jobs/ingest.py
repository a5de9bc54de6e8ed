"""Ingest archive items: python jobs/ingest.py AOC11B -w s3://bucket/bach --scheduler tcp://...

The options are those of `fadae ingest`.
"""

import typer

from fadae.cli import ingest, reporting

if __name__ == "__main__":
    typer.run(reporting(ingest))
