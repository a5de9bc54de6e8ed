# %% [markdown]
# # For the audio researcher
#
# What is in a workspace, how a recording looks on its bands, and what a run's code loses. It needs
# a workspace; `fadae demo --to demo` makes one of Bach, with no network. `FADAE_WORKSPACE` names
# another one.

# %%
import os

import numpy as np

import fadae

ws = fadae.open(os.environ.get("FADAE_WORKSPACE", "demo/workspace"))
ws

# %% [markdown]
# ## A recording
#
# The picture and the player show its first ten seconds. Low bands are below.

# %%
recording = ws.recordings[0]
recording

# %% [markdown]
# ## By time and band
#
# `select` is lazy: arrays are read when their values are used. A row is a hop, a column a
# coefficient; a coefficient belongs to a band.

# %%
part = ws.select(recording.id, seconds=slice(1, 3), hz=slice(400, 900))
print({name: size for name, size in part.sizes.items() if name != "sample"})

# %%
picture = ws.rasterize(recording.id, seconds=slice(0, 4))
_ = picture.plot(cmap="magma", size=2.5, aspect=2.2)

# %% [markdown]
# Where is the energy? The mean square of each band's coefficients, over the first four seconds.

# %%
rows = ws.select(recording.id, seconds=slice(0, 4))
power = (rows.features.astype("float64") ** 2).mean("frame")
by_band = power.groupby(rows.coefficient_band).sum()
loudest = by_band.to_series().nlargest(3).index
print("loudest bands:", np.sort(rows.band_centre_hz.to_numpy()[loudest]).round(), "Hz")

# %% [markdown]
# ## A code, and what it loses
#
# Errors are of companded coefficients, in dB; PCA with as many bytes stands beside the run. A gap
# above 0 says that PCA does better.

# %%
ws.run_table()

# %%
codec = ws.codec()
codec

# %%
features = rows.features.to_numpy().astype("float32")
decoded = codec.decode(codec.encode(features))
error = np.sum((features - decoded) ** 2) / np.sum(features**2)
print(f"{features.shape[0]} rows, error of the coefficients: {10 * np.log10(error):.1f} dB")

# %% [markdown]
# ## The recordings in the plane
#
# Two principal components of the vectors by which `ws.similar` finds what sounds alike. Neighbours
# sound alike, as far as two axes can tell.

# %%
plane = ws.corpus_map()
print("share of the variance by axis:", np.round(plane.explained, 2))
for point in plane.points[:5]:
    print(f"{point.x:5.2f} {point.y:5.2f}  {point.title}")

# %% [markdown]
# ## A model of your own
#
# `ws.torch` feeds it rows, by the split of a run: here the recordings that the run learned from.

# %%
batch = next(iter(ws.torch("features", split="train", batch_size=16)))
print({name: tuple(getattr(values, "shape", (len(values),))) for name, values in batch.items()})
