"""Generated from proto/arbora/v1 by `make proto`. Never edited by hand."""
