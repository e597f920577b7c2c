"""Results published: bundles taken in from strangers, and a static site made of records.

Imports `conclusions` and what lies below it. Every byte of a bundle is hostile until it is checked.
"""
