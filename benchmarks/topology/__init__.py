"""How long a network takes to stand and to go: stock Mininet beside the testbed, pairwise."""
