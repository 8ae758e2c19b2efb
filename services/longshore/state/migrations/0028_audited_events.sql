-- Calls on record are told of as events: they are read where they are.
CREATE TRIGGER tell_events AFTER INSERT ON audit_records FOR EACH STATEMENT EXECUTE FUNCTION tell_events();
