# %% [markdown]
# # First steps
#
# From sound to features and back, then from features to codes. Run this file as a script, or open
# it as a notebook with Jupytext or VS Code. It needs a workspace; `fadae demo` makes one:
#
#     fadae demo --to demo
#     python examples/first_steps.py demo/workspace

# %%
import sys

import numpy as np

import fadae

# %% [markdown]
# ## The transform
#
# One second of two tones. A row of the result is a frame of 0.68 s, and they start 0.34 s apart.

# %%
t = fadae.FrequencyAdaptiveTransform.preset("seed")
seconds = np.arange(t.sample_rate_hz) / t.sample_rate_hz
tones = 0.3 * np.sin(2 * np.pi * 440 * seconds) + 0.1 * np.sin(2 * np.pi * 1760 * seconds)
c = t.analyze(tones)
print("coefficients:", c.shape)

energy = np.add.reduceat(np.mean(c**2, axis=0), t.coefficient_slices[:, 0])
loudest = np.sort(t.band_centre_hz[np.argsort(energy)[-4:]])
print("loudest bands:", loudest.round(), "Hz")

# %% [markdown]
# `synthesize` is the exact inverse for everything that the bands keep, 297 to 3066 Hz here.

# %%
back = t.synthesize(c, length=len(tones))
inner = slice(2000, -2000)  # a tone that starts at once also sounds outside the bands
error = np.sum((back - tones)[inner] ** 2) / np.sum(tones[inner] ** 2)
print(f"error: {10 * np.log10(error):.0f} dB")

# %% [markdown]
# ## A workspace
#
# `fadae.open` reads nothing but a few documents. Data is read when it is used.

# %%
ws = fadae.open(sys.argv[1] if len(sys.argv) > 1 else "demo/workspace")
for recording in list(ws.recordings)[:3]:
    print(f"{recording.seconds:6.1f} s  {recording.id}")

first = ws.recordings[0].id
part = ws.select(first, seconds=slice(1, 3), hz=slice(400, 900))
print("part:", dict(part.sizes))

# %% [markdown]
# ## A code
#
# A run's codec turns features into codes and back.

# %%
codec = ws.codec()
features = ws.select(first, seconds=slice(1, 3)).features.values
codes = codec.encode(features)
print("codes:", codes.values.shape, codes.values.dtype)
decoded = codec.decode(codes)
print("features again:", decoded.shape)
