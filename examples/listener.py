# %% [markdown]
# # For the listener
#
# Find a recording, hear it, and hear what is left of it once it went through a run's code. It needs
# a workspace; `fadae demo --to demo` makes one. `FADAE_WORKSPACE` names another one.

# %%
import os

import fadae

ws = fadae.open(os.environ.get("FADAE_WORKSPACE", "demo/workspace"))
ws.recordings

# %% [markdown]
# `search` finds recordings whose title, creator, item and file hold every word.

# %%
word = ws.recordings[0].title.split()[0]
found = ws.search(word, limit=3)
print(word, "->", [recording.title for recording in found])

# %% [markdown]
# ## Before and after
#
# Take a recording that the run never learned from. First as it was decoded, then as the transform
# keeps it, then from the code alone.

# %%
run = ws.default_run
held_out = ws.split(run).held_out
heard = held_out[0] if held_out else ws.recordings[0].id
span = slice(0, 3)
ws.show(heard, span)

# %%
ws.show(heard, span, source="transform")

# %%
print(f"run {run}: {ws.code_size(run)}")
ws.show(heard, span, source=run)

# %% [markdown]
# ## Only some bands
#
# The same three seconds, from 500 to 1000 Hz.

# %%
ws.show(heard, span, hz=slice(500, 1000))

# %% [markdown]
# ## More like this
#
# What sounds most like these seconds? Each recording comes once, with its nearest part.

# %%
alike = ws.similar(heard, span, k=3)
for one in alike:
    print(f"{one.score:.2f}  {one.start_seconds:5.1f} s  {one.title}")

# %%
nearest = alike[0]
ws.show(nearest.id, slice(nearest.start_seconds, nearest.stop_seconds))
