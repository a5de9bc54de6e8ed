"""The model inside the package: small, what its card says, and ready right after installing."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np

from fadae.coding.files import compress, decompress, identify, packaged, to_bytes
from fadae.scores import snr_db

FOLDER = resources.files("fadae.coding")


def test_it_is_small_and_its_card_says_which_it_is() -> None:
    card = json.loads(FOLDER.joinpath("music.json").read_text())
    kept = FOLDER.joinpath("music.safetensors").read_bytes()
    assert len(kept) < 100_000
    assert to_bytes(packaged()) == kept
    assert card["fingerprint"] == identify(packaged()).hex()
    trained, judged = ({one["sha256"] for one in card[key]} for key in ("trained_on", "judged_by"))
    assert trained and judged and not trained & judged
    assert card["licence_of_the_music"]


def test_it_codes_sound_within_the_bytes_asked_for() -> None:
    time = np.arange(5 * 11025) / 11025
    chord = sum(0.1 * np.sin(2 * np.pi * hz * time) for hz in (220.0, 277.2, 329.6))
    pcm = np.round(chord * 32767).astype(np.int16)
    code = compress(pcm, 11025, code_bytes=128)
    rows = -(-len(pcm) // 3750) + 1
    assert len(code) <= 128 * rows + 200  # the header comes once a file
    sound, rate_hz = decompress(code)
    assert rate_hz == 11025 and len(sound) == len(pcm)
    assert snr_db(pcm / 32768, sound) > 15
