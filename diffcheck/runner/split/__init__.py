"""The rows of a case split over several slices: their groups, and the reports of the slices joined."""
