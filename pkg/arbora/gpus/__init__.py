"""What GPUs say of themselves, as hubs and agents share it: health, values, roll-ups, and their wire forms."""
