"""What the scaler reads to decide, and what it writes once it has."""
