"""Pages and drawings of all reports: one look, nothing fetched, nothing scripted, all escaped."""
