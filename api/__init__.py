"""What travels over HTTP; nothing here knows torch."""
