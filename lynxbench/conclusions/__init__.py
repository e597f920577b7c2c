"""What records let a reader conclude: what may be claimed, what to deploy, what changed, what another rubric says.

Imports `records`, `scoring`, `datasets`, `specs` and `errors`. Runs no model, prints nothing.
"""
