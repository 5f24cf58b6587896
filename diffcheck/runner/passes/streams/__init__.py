"""The observation stream of a run: assembled from the answers of a subject, and compared with the oracle's."""
