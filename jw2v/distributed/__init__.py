"""Device layouts, several processes, and agreement between them."""
