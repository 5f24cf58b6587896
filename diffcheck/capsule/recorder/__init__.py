"""What the recorder adds to a capsule: functions that write the observation stream, and the description of references."""
