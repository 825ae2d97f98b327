"""One fit, from its configuration to what it comes to."""
