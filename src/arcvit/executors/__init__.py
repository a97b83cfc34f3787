"""Where jobs run: in this process, in several, on a Ray cluster, under Slurm. No torch."""
