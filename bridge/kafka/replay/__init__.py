"""Re-reading past records for replays and history pages."""
