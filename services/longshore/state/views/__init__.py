"""What is read across the owners of tables, for whoever asks. Nothing here writes."""
