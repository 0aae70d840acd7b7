"""GPU classes, pod shapes, sketches, aggregation. No I/O."""
