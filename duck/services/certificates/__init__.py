"""Certificates: made for development, obtained and renewed for public names, kept in the state directory."""
