"""The service as a deployment of Ray Serve: replicas on many machines, asked by one process.

The process of ``arcvit serve --ray`` has the protocols, the limits and the state; each replica has
the backbone and adapters of its own, and mixes tasks in its batches.
"""
