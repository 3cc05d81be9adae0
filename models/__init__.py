"""What a model is: the catalogue, the store, and how a checkpoint is made ready. Nothing here runs one."""
