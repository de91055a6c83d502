"""What a trace answers when it is asked again."""
