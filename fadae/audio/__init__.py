"""Sound in and out: any format decoded to one PCM, and PCM written as OGG, FLAC, WAV or MP3."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.audio import codecs, write
    from fadae.audio.pcm import from_pcm, to_pcm
    from fadae.audio.sandbox import borrowed, decoded
    from fadae.audio.stream import flac_stream
    from fadae.audio.tags import Tags
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.audio": ["codecs", "write"],
            "fadae.audio.pcm": ["from_pcm", "to_pcm"],
            "fadae.audio.sandbox": ["borrowed", "decoded"],
            "fadae.audio.stream": ["flac_stream"],
            "fadae.audio.tags": ["Tags"],
        },
    )

__all__ = ["Tags", "borrowed", "codecs", "decoded", "flac_stream", "from_pcm", "to_pcm", "write"]
