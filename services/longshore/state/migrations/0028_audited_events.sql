-- Calls on record are told of as events: they are read where they are.
CREATE TRIGGER tell_events AFTER INSERT ON audit_records FOR EACH STATEMENT EXECUTE FUNCTION tell_events();

-- Numbers of transactions begin anew in another cluster, as after a dump was restored: from then on only what happened
-- later is told of.
ALTER TABLE event_cursor ADD COLUMN since timestamptz NOT NULL DEFAULT '-infinity';
