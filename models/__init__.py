"""What a model is: the catalogue, the store, prompts, facts and golden numbers. Nothing here runs one."""
