"""What the App owns besides its server."""
