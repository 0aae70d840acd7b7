"""Names, paths, SPIFFE ids, CA, CSR, rotation, join tokens, sealing. No I/O, no clock."""
