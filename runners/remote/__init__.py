"""The models of the engine process, as a worker uses them: frames, the server, the client, and starting the engine."""
