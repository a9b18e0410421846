"""`bench reload`: what a change of a file costs whoever develops, beside the other servers that load changed code."""
