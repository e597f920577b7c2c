"""How each part of a suite is made: ``make(archives, folder)`` reads archives by name and writes files.

A recipe writes the same bytes on every machine. One that would write others gets a higher `version` in sources.toml.
"""
