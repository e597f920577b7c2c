"""What predicts a loss: over all candidates of some sweeps, how far each correlate ranks them as their losses do.

Imports `diagnosis` and what is below it. `correlates` says what may predict, `weighing` finds it out where it has to be
computed from model files (in a child process), `correlation` is the statistics, `run` puts them together.
"""
