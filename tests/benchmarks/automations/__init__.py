"""`bench automations`: what scheduled work costs, and how late it starts, beside other schedulers."""
