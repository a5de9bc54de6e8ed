"""An archive inside the package: a small archive.org on loopback, and Bach for it to hold."""
