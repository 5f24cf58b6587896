"""From events to what a person or a program reads: one model, one file per format."""
