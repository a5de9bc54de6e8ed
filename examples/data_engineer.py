# %% [markdown]
# # For the data engineer
#
# Stages from Python, resumption, and a workspace as arrays and tables. It needs a workspace to look
# at; `fadae demo --to demo` makes one. `FADAE_WORKSPACE` names another one.

# %%
import os
import tempfile
from pathlib import Path

import numpy as np
import soundfile

import fadae
from fadae.export import Request, export

ws = fadae.open(os.environ.get("FADAE_WORKSPACE", "demo/workspace"))

# %% [markdown]
# ## A job
#
# A stage is a function of a workspace's URL, a folder here. It goes on where it was stopped, and
# says what there is.

# %%
home = Path(tempfile.mkdtemp())
(home / "music").mkdir()
seconds = np.arange(3 * 11025) / 11025
soundfile.write(home / "music" / "a4.flac", 0.3 * np.sin(2 * np.pi * 440 * seconds), 11025)

job = str(home / "job")
done = fadae.ingest(job, [fadae.FolderSource(str(home / "music"))])
print(done.ok, "recording,", done.audio_seconds, "s")

# %%
done = fadae.extract(job)
print(done.frames, "rows,", done.shards_written, "block written")
again = fadae.extract(job)
print(again.frames, "rows,", again.shards_written, "blocks written")

# %% [markdown]
# ## Arrays
#
# `features` is an `xarray.Dataset` that reads nothing until it is asked; with chunks it is one of
# Dask arrays, for what does not fit into memory. Padding between publications is NaN.

# %%
print(dict(ws.features.sizes))
chunked = ws.features.chunk({"frame": 1024})
spread = chunked.features.astype("float32").std("frame").compute()
print("standard deviation of coefficient 0:", round(float(spread[0]), 4))

# %% [markdown]
# ## Tables
#
# The recordings as a pandas DataFrame. Of a million, take those that a search finds:
# `ws.recordings.to_pandas(ws.recordings.rows("fugue"))`.

# %%
table = ws.recordings.to_pandas()
table[["title", "seconds", "frame_start", "frame_count", "held_out"]].head()

# %%
ws.run_table().to_pandas()[["model", "state", "steps", "held_out_nmse_db", "model_bytes"]]

# %% [markdown]
# Curves of several runs, with the axes that all of them fit into, as plain numbers:

# %%
curves = ws.curves()
print(curves["axes"])

# %% [markdown]
# ## Handing it on
#
# `fadae export`: shards that others load, with a data card and how to cite the sources. Stopped, it
# goes on and ends with the same bytes.

# %%
to = home / "shards"
export(ws.location, str(to), Request("webdataset", what=("audio", "metadata")))
print(sorted(path.name for path in to.rglob("*") if path.suffix in (".md", ".cff", ".tar")))
