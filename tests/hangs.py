"""When a test gives up on what never happens: so late that no busy machine comes near it."""

HANG_SECONDS = 1000.0  # below pytest's own time-out, so that the test says what it waited for
