"""What a person sees at a terminal: progress, tables, a conversation, a check of the machine."""
