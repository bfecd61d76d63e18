"""SHOW: a recording's numbers for people, in the terminal and as a page that opens offline."""
