"""DuckSight's side of a worker: what is put into pages in development, and what answers below `/.duck/`."""
