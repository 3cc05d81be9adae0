"""Many replicas behind a load balancer and an autoscaler, simulated with the service's own batching.

    python -m benchmarks.fleet table       # replicas for R requests/s at p99 P; thresholds; what breaks first
    python -m benchmarks.fleet validate    # the simulation beside three real replicas, at several loads
    python -m benchmarks.fleet measure     # what passes and requests cost on this machine

A request passes through `balancing`, then through the front end, the queue and the passes of a `replica`. `traffic`
sends it, `autoscaling` changes the number of replicas, `fleet` connects these and records the answers.
"""
