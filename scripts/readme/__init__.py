"""The tables of README.md and README.ja.md: what they say and in which language."""
