"""Models that are forwarded to the API of their provider."""
