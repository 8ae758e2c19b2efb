-- Provisioning alone puts orders on record, as it begins to answer them. What a scaler had recorded and not yet placed
-- gets nothing: the next pass decides anew.
UPDATE capacity_orders SET closed_at = now() WHERE closed_at IS NULL AND answering_until IS NULL;
-- So an open order is never without an end: who finds one that is past it gives it up.
ALTER TABLE capacity_orders ADD CHECK (closed_at IS NOT NULL OR answering_until IS NOT NULL);
