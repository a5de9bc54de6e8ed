"""What is wrong with bytes that should be a code."""

from __future__ import annotations

from fadae.errors import FadaeError


class CodeError(FadaeError):
    """These bytes are not a code of this model: damaged, cut short, or another model's."""

    exit_code = 65
