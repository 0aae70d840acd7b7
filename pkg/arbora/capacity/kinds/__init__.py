"""What is known of the kinds that run pods: a reader for each, by API group and kind."""
