"""Which models are in memory: import on demand, load, pin, evict, watch."""
