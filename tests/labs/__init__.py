"""Real systems that tests start for themselves: each on free ports, in a folder of its own, ended by pid."""
