"""The words of other services: their bodies in, their answers out, our work between."""
