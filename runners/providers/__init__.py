"""Models that are forwarded to their provider's API."""
