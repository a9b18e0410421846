"""The development server of a front end: found, started, watched, and told to the front."""
