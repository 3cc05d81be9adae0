"""The command line: `./embeddings COMMAND`. app.py has all commands and their options; a command imports the rest."""

NAME = "embeddings"
