"""Load clients of our own, which say of each failure whose it is, and what `duck serve` promises under them."""
