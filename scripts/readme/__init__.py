"""The generated tables of README.md and docs/, in English and Japanese."""
