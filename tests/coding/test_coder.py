"""Rows to bytes and back: exact, alone or together, and robust against any bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fadae.coding.coder import ABOVE, WORTH, ByteCoder, Draft, pack, unpack, zero_levels
from fadae.coding.entropy import ALPHABET, EntropyModel, Network, to_frequencies
from fadae.coding.symbols import ROUNDING, STEP, quantise
from fadae.errors import CodeError
from tests.coding import models
from tests.coding.models import SIZE, rows, steps
from tests.threads import threads

CODERS: dict[str, Callable[[], EntropyModel]] = {
    "tables": models.tables,
    "network": models.network,
}


@pytest.fixture(params=list(CODERS))
def coder(request: pytest.FixtureRequest) -> ByteCoder:
    return ByteCoder(CODERS[request.param](), SIZE)


class TestRoundTrip:
    @pytest.mark.parametrize("index", [40, 90, 130, 170])
    def test_decodes_to_what_was_quantised(self, coder: ByteCoder, index: int) -> None:
        draft = coder.draft(rows(20, seed=1), steps(20, index))
        np.testing.assert_array_equal(coder.decode(coder.codes(draft)), coder.reconstruct(draft))

    def test_errors_are_within_a_step(self, coder: ByteCoder) -> None:
        c = rows(10, seed=2)
        error = np.abs(coder.decode(coder.encode(c, steps(10))) - c)
        assert error.max() <= 1.2 * STEP[110]

    def test_rows_have_their_own_steps(self, coder: ByteCoder) -> None:
        c, index = rows(9, seed=3), np.arange(70, 151, 10).astype(np.uint8)
        together = coder.encode(c, index)
        lengths = [len(code) for code in together]
        assert lengths == sorted(lengths, reverse=True) or min(lengths) < max(lengths)
        assert [code[0] for code in together] == index.tolist()

    def test_a_row_is_the_same_alone_and_among_others(self, coder: ByteCoder) -> None:
        c = rows(50, seed=4)
        codes = coder.encode(c, steps(50))
        decoded = coder.decode(codes)
        for row in (0, 17, 49):
            assert coder.encode(c[row : row + 1], steps(1)) == [codes[row]]
            np.testing.assert_array_equal(coder.decode([codes[row]])[0], decoded[row])
        np.testing.assert_array_equal(coder.decode(codes[::-1]), decoded[::-1])

    def test_silence_has_no_bytes(self, coder: ByteCoder) -> None:
        c = rows(3, seed=5)
        c[1] = 0
        codes = coder.encode(c, steps(3))
        assert codes[1] == b""
        assert not coder.decode(codes)[1].any()
        assert coder.decode([]).shape == (0, SIZE)

    def test_magnitudes_beyond_the_alphabet(self, coder: ByteCoder) -> None:
        q = np.zeros((4, SIZE), dtype=np.int32)
        q[0, 0], q[1, -1], q[2, 7], q[3, :] = 17, -18, 2**22, 40
        draft = coder.draft_of(q, steps(4, 30))
        decoded = coder.decode(coder.codes(draft))
        np.testing.assert_array_equal(decoded, coder.reconstruct(draft))
        assert abs(decoded[2, 7] / STEP[30] - 2**22) <= 1

    @given(seed=st.integers(0, 2**31), index=st.integers(0, 255), held=st.integers(0, SIZE))
    @settings(max_examples=25, deadline=None)
    def test_any_whole_numbers(self, seed: int, index: int, held: int) -> None:
        rng = np.random.default_rng(seed)
        q = np.zeros((2, SIZE), dtype=np.int32)
        q[0, :held] = rng.geometric(rng.uniform(0.05, 1), held) * rng.integers(-1, 2, held)
        q[1, held:] = rng.integers(-3, 4, SIZE - held)
        coder = ByteCoder(models.network(), SIZE)
        draft = coder.draft_of(q, steps(2, index))
        decoded = coder.decode(coder.codes(draft))
        np.testing.assert_array_equal(decoded, coder.reconstruct(draft))
        np.testing.assert_array_equal(np.sign(decoded), np.sign(q))

    @pytest.mark.parametrize("size", [36, 300, 2880, 15000, 17280])
    def test_rows_of_other_sample_rates(self, coder: ByteCoder, size: int) -> None:
        other = ByteCoder(coder.model, size)
        draft = other.draft(rows(3, seed=6, size=size), steps(3))
        np.testing.assert_array_equal(other.decode(other.codes(draft)), other.reconstruct(draft))

    def test_lengths_are_known_before(self, coder: ByteCoder) -> None:
        draft = coder.draft(rows(40, seed=7), steps(40))
        lengths, bits = np.array([len(code) for code in coder.codes(draft)]), draft.bits
        # Zeros pushed upon few signs may cost nothing; otherwise all is as reckoned.
        assert abs(np.median(bits / 8 - lengths)) <= 0.3
        assert np.all(lengths <= bits / 8 + 1.5)

    def test_stored_rows(self, coder: ByteCoder) -> None:
        codes = coder.encode(rows(5, seed=8), steps(5))
        cap = max(map(len, codes))
        packed, code_bytes = pack(codes, cap)
        assert packed.shape == (5, cap)
        assert unpack(packed, code_bytes) == codes
        with pytest.raises(ValueError):
            pack(codes, cap - 1)
        with pytest.raises(CodeError):
            unpack(packed, code_bytes + cap)


class TestRefinement:
    def test_makes_the_trade_better(self, coder: ByteCoder) -> None:
        c, index = rows(30, seed=10), steps(30)

        def cost(draft: Draft) -> float:
            error = (coder.reconstruct(draft) - c) / STEP[110]
            return float(np.sum(error.astype(np.float64) ** 2) + WORTH * draft.bits.sum())

        best = cost(coder.draft(c, index))
        for rounding in (0.3, 0.36, 0.5):
            assert best < cost(coder.draft_of(quantise(c, index, rounding), index))
        for worth in (0.0, 0.3):
            assert best < cost(coder.draft(c, index, np.full(30, worth, dtype=np.float32)))

    def test_nothing_is_worth_any_price(self, coder: ByteCoder) -> None:
        c = rows(4, seed=10)
        c[1] = 0
        draft = coder.draft(c, steps(4, 150), np.full(4, 1e6, dtype=np.float32))
        assert coder.codes(draft) == [b""] * 4
        assert not draft.bits.any() and not coder.reconstruct(draft).any()


class TestFill:
    def test_zeros_become_noise_and_nothing_else_changes(self, coder: ByteCoder) -> None:
        c, index = rows(30, seed=14), steps(30, 120)
        c[:5, 3000:] = 0
        codes = coder.encode(c, index)
        plain = coder.decode(codes)
        loud, soft = (ByteCoder(coder.model, SIZE, fill=f).decode(codes) for f in (1.0, 0.5))
        held = plain != 0
        np.testing.assert_array_equal(loud[held], plain[held])
        np.testing.assert_allclose(soft[~held], loud[~held] / 2, rtol=1e-6)
        noise = loud[~held] / STEP[120]
        assert np.abs(noise).max() < 0.5  # steps: less than what would have been kept
        assert abs(noise.sum()) < 4 * np.sqrt(np.sum(noise**2)), "as many minuses as pluses"
        above = np.abs(loud[:5, 3400:]) / STEP[120]
        assert above.min() > 0 and above.max() <= ABOVE, "softly, above the bandwidth"

    @pytest.mark.parametrize("scale", [0.1, 0.3, 2.0])
    def test_its_level_is_the_mean_of_what_became_zero(self, scale: float) -> None:
        c = np.random.default_rng(15).exponential(scale, 200_000)  # in steps
        symbols = np.minimum(np.floor(c + ROUNDING).astype(int), ALPHABET - 1)
        frequencies = to_frequencies(np.bincount(symbols, minlength=ALPHABET))
        (level,) = zero_levels(frequencies[None])
        assert level == pytest.approx(c[symbols == 0].mean(), abs=0.002)

    def test_a_row_has_its_noise_alone_and_among_others(self, coder: ByteCoder) -> None:
        filling = ByteCoder(coder.model, SIZE, fill=0.4)
        codes = [*coder.encode(rows(40, seed=16), steps(40)), b""]
        decoded = filling.decode(codes)
        for row in (0, 23, 40):
            np.testing.assert_array_equal(filling.decode([codes[row]])[0], decoded[row])
        assert not decoded[40].any()


class TestAnyBytes:
    def test_random_bytes_are_random_sound(self, coder: ByteCoder) -> None:
        rng = np.random.default_rng(0)
        sound = coder.decode([b"\x82" + rng.bytes(200) for _ in range(40)], strict=False)
        assert np.all(np.isfinite(sound))
        assert np.count_nonzero(sound.any(axis=1)) >= 30

    def test_2000_damaged_codes_decode_or_say_so(self, coder: ByteCoder) -> None:
        rng = np.random.default_rng(1)
        codes = coder.encode(rows(20, seed=11), steps(20, 140))
        refused = 0
        for trial in range(2000):
            damaged = bytearray(codes[trial % 20])
            kind = trial // 20 % 4
            if kind == 0:
                damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
            elif kind == 1:
                del damaged[rng.integers(1, len(damaged)) :]
            elif kind == 2:
                damaged += rng.bytes(int(rng.integers(1, 40)))
            else:
                damaged = bytearray(rng.bytes(int(rng.integers(0, 300))))
            try:
                sound = coder.decode([bytes(damaged)])
            except CodeError:
                refused += 1
            else:
                assert np.all(np.isfinite(sound))
        assert refused >= 1400  # a flipped sign, or zeros cut from the end, go unseen here

    @pytest.mark.parametrize("made_with", list(CODERS))
    def test_codes_of_another_model_are_refused(self, made_with: str) -> None:
        codes = ByteCoder(CODERS[made_with](), SIZE).encode(rows(8, seed=12), steps(8))
        other = ByteCoder(models.network(seed=5), SIZE)
        for code in codes:
            with pytest.raises(CodeError):
                other.decode([code])


class TestExactness:
    # Every kernel that this processor can run would do; these round differently in floats.
    SETTINGS: tuple[dict[str, str], ...] = (
        {},
        threads(4),
        {"OPENBLAS_CORETYPE": "Haswell"},
        {"OPENBLAS_CORETYPE": "SkylakeX"},
        {
            "OPENBLAS_CORETYPE": "Prescott",
            "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX",
        },
    )

    @pytest.mark.slow
    def test_bytes_and_samples_are_the_same_in_every_setting(self) -> None:
        hashes = {
            subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "tests.coding.exact"],
                env=os.environ | changed,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for changed in self.SETTINGS
        }
        assert len(hashes) == 1, hashes

    def test_weights_that_could_round_are_refused(self) -> None:
        tensors = models.network().tensors()
        tensors["bias_1"] = tensors["bias_1"] + 2**24
        with pytest.raises(ValueError, match="not exact"):
            Network(tensors)
        tensors = models.network().tensors()
        tensors["hidden"] = tensors["hidden"][:, :, :-1]
        with pytest.raises(ValueError, match="hidden of shape"):
            Network(tensors)
