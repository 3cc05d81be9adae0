"""Compare models on the user's own queries and passages: quality, speed and memory on this machine."""
