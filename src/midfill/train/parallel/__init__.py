"""Training over several processes; nothing outside this room knows how many there are."""
