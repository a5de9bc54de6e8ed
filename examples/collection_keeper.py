# %% [markdown]
# # For the keeper of a collection
#
# What is here, under which licence, what is there twice, what could not be had, and which run
# learned from what. It needs a workspace; `fadae demo --to demo` makes one. `FADAE_WORKSPACE` names
# another one.

# %%
import os
import tempfile
from pathlib import Path

import numpy as np
import soundfile

import fadae
from fadae.export import citation_of
from fadae.forget import forget

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
# Softer, cut or encoded again, it is found by fingerprints, as `fadae duplicates` finds it. A new
# run has such a family on one side of its split.

# %%
for family in ws.duplicates():
    print([f"{copy.id}: {copy.overlap_seconds:.0f} s" for copy in family.members])
print(len(ws.duplicates()), "families of copies")

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

# %% [markdown]
# ## Taking one down
#
# As `fadae forget ID --reason TEXT --erase`, here in a workspace of two notes: it is shown no more,
# its bytes go, and it is not taken when it comes again. Runs that learned from it are named.

# %%
home = Path(tempfile.mkdtemp())
(home / "notes").mkdir()
seconds = np.arange(2 * 11025) / 11025
for note, hz in (("a4", 440), ("c5", 523.25)):
    sound = 0.3 * np.sin(2 * np.pi * hz * seconds)
    soundfile.write(home / "notes" / f"{note}.flac", sound, 11025)
source = fadae.FolderSource(str(home / "notes"))
fadae.ingest(str(home / "job"), [source])
fadae.extract(str(home / "job"))
done = forget(str(home / "job"), ["notes/c5.flac"], "its owner asked", erase_bytes=True)
print(done.erased_recordings, "recording erased, runs that learned from it:", done.learned)
print([recording.id for recording in fadae.open(str(home / "job")).recordings])

# %% [markdown]
# ## How to cite it

# %%
print("".join(citation_of(ws.location, "bibtex")))
