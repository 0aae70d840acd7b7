"""Builds the tree with which `arbora credential-plugin` runs in containers that have no Python and no libc."""
