"""Test sets, calibration readers, strata, corruptions and fingerprints; and the predictions made on them.

Imports `specs` and `errors` only. Knows files and samples, not models.
"""
