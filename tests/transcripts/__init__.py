"""What real engines printed."""
