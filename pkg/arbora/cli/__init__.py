"""The `arbora` command, one module per noun."""
