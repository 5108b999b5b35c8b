"""Launchers: processes on this machine, Ray and Slurm."""
