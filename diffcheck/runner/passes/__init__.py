"""The comparisons of one case, and what excuses a subject."""
