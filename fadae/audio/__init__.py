"""Sound in and out: any format decoded to one PCM, and PCM written as OGG, FLAC, WAV or MP3."""
