"""Notebooks: examples/*.py as cells, run into docs/notebooks/*.ipynb, and shown by Sphinx.

`python docs/notebooks.py`, with nbclient and ipykernel (`fadae[notebooks]`), runs them over the
workspace that FADAE_WORKSPACE names, else demo/workspace. Sphinx shows what is committed and runs
nothing.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
NAMES = ("audio_researcher", "data_engineer", "listener", "collection_keeper")


def cells_of(script):
    """Return (is_markdown, source) of each cell of a script with `# %%` between them."""
    cells = []
    for part in f"\n{script}".split("\n# %%")[1:]:
        mark, _, body = part.partition("\n")
        body = body.strip("\n")
        if mark.strip() == "[markdown]":
            lines = (line.removeprefix("#").removeprefix(" ") for line in body.splitlines())
            cells.append((True, "\n".join(lines)))
        else:
            cells.append((False, body))
    return cells


def run(name, folder=ROOT / "docs" / "notebooks"):
    """Run a notebook and write it into a folder; paths below the current folder become relative."""
    import nbformat
    from nbclient import NotebookClient

    script = (ROOT / "examples" / f"{name}.py").read_text("utf-8")
    notebook = nbformat.v4.new_notebook()
    for number, (is_markdown, source) in enumerate(cells_of(script)):
        make = nbformat.v4.new_markdown_cell if is_markdown else nbformat.v4.new_code_cell
        notebook.cells.append(make(source, id=f"cell-{number}"))
    # Sockets in the file system: a kernel on a TCP port is open to other users of the machine.
    client = NotebookClient(notebook, kernel_name="python3", timeout=600, record_timing=False)
    client.create_kernel_manager().transport = "ipc"
    client.execute()
    notebook.metadata = {"kernelspec": _KERNEL}
    text = nbformat.writes(notebook).replace(f"{Path.cwd()}/", "")
    (Path(folder) / f"{name}.ipynb").write_text(f"{text}\n", "utf-8")


def markdown_of(notebook):
    """Return a notebook's cells and outputs as MyST Markdown."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"~~~~python\n{source}\n~~~~")
        parts += [_output(output) for output in cell["outputs"]]
    return "\n\n".join(parts)


def _output(output):
    if output["output_type"] == "stream":
        return f"~~~~text\n{''.join(output['text']).rstrip()}\n~~~~"
    data = output["data"]
    if "text/html" in data:
        return f"~~~~{{raw}} html\n{''.join(data['text/html'])}\n~~~~"
    if "image/png" in data:
        png = "".join(data["image/png"].split())
        return f'~~~~{{raw}} html\n<img alt="" src="data:image/png;base64,{png}">\n~~~~'
    return f"~~~~text\n{''.join(data['text/plain'])}\n~~~~"


def setup(app):
    """Have Sphinx read .ipynb files."""
    from myst_parser.parsers.sphinx_ import MystParser

    class NotebookParser(MystParser):
        """Reads a notebook as the Markdown that its cells and outputs are."""

        supported = ("notebook",)

        def parse(self, inputstring, document):
            super().parse(markdown_of(json.loads(inputstring)), document)

    app.add_source_suffix(".ipynb", "notebook")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    for chosen in sys.argv[1:] or NAMES:
        run(chosen)
