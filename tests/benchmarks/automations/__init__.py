"""`bench automations`: what scheduled work costs, how late it starts, and whether it holds, beside other schedulers."""
