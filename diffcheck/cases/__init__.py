"""Cases: case files, discovery, rows, and artifacts prepared by meld and witness."""
