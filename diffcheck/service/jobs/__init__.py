"""Jobs: the queue, from a request to a plan, and the workers that run plans."""
