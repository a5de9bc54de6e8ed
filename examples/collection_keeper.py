# %% [markdown]
# # For the keeper of a collection
#
# What is here, under which licence, what is there twice, what could not be had, and which run
# learned from what. It needs a workspace; `fadae demo --to demo` makes one. `FADAE_WORKSPACE` names
# another one.

# %%
import os

import fadae

ws = fadae.open(os.environ.get("FADAE_WORKSPACE", "demo/workspace"))
about = ws.info()
print(dict(about.recordings))
print({name: f"{size / 1e6:.1f} MB" for name, size in about.sizes.items()})

# %% [markdown]
# ## Licences
#
# As the sources tell them: nothing is guessed.

# %%
table = ws.recordings.to_pandas()
table.groupby("licence").agg(recordings=("seconds", "size"), seconds=("seconds", "sum"))

# %% [markdown]
# ## The same sound twice
#
# `same_as` is the row of the recording with the very same samples, -1 where there is none.

# %%
twice = table[table.same_as >= 0]
print(f"{len(twice)} of {len(table)} recordings have the samples of another one")

# %% [markdown]
# ## What could not be had
#
# Failures that may pass are tried again by the next `fadae ingest`; the others are quarantined.

# %%
for failure in about.failures:
    print(failure["id"], failure["class"], failure["reason"])
print(len(about.failures), "failures")

# %% [markdown]
# ## What was published when, and who learned from it

# %%
for line in ws.history():
    trained = ", ".join(line.runs) or "no run"
    print(f"publication {line.number}: {line.recordings} recordings, trained on by {trained}")

# %%
for run in ws.runs:
    split = ws.split(run)
    print(f"{run}: {len(split.trained)} trained on, {len(split.held_out)} held out")

# %%
ws.run_table()
