"""Open-loop load tests of a server, whose latencies count from when a request was due."""
