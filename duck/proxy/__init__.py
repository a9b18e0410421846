"""Which backend answers, and with which fields."""
