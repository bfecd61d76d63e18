"""What our load generator costs, and how late it is: beside a bare loop of httpx's, pairwise."""
