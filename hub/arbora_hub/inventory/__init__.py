"""What is known of the children now, and how present they are."""
