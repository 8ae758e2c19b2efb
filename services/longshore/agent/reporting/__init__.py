"""What the scheduler is told, and what it says: the journal, the outbox and the stream."""
