"""Options in one table, the configuration file, and files that users bring."""
