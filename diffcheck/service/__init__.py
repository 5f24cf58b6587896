"""The service: a queue of commands, an API and a dashboard over what they found. Needs the extra ``service``."""
