"""One request through all layers: contiguous stages that add up to its latency.

applications + packets -> exchanges, deliveries, ways -> tape -> stages -> why slow

exchange    the milestones of a request in the applications, joined by connection and offset
delivery    which transmission of a segment brought a byte, and which came first
ways        that packet over links and through nodes
recovery    how a lost segment was brought back
tape        stages, laid end to end
build       in which order
why_slow    which stages make up the slow requests
"""
