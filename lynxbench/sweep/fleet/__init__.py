"""One sweep on many hosts: groups travel to nodes by Dask, finished cells come back and land in the results folder.

Dask carries messages, knows which hosts are there, and gives each host one group at a time; which host gets which group
is decided here. Three processes take part:

    coordinator   `lynxbench sweep --on`: plans, hands out groups, keeps what comes back
    node          `lynxbench node start`, one a host: a Dask worker that runs a group when it is given one
    measure       a fresh process for each group, on its node: runs it by the code of a local sweep

Imports what `sweep` imports; `distributed` only inside functions, because it is an extra.
"""
