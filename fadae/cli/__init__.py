"""The command line: one thin file a command, each calling one function of the library."""
