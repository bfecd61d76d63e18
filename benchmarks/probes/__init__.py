"""What observing costs: the same load with and without each probe, pairwise in one run."""
