-- When a job last left a queue's dispatch order: those behind it moved up. Kept by those who take from `ready`.
CREATE TABLE queue_departures (
    job_queue text PRIMARY KEY,
    left_at timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE FUNCTION note_departure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO queue_departures AS d (job_queue, left_at)
    SELECT DISTINCT job_queue, now() FROM removed ORDER BY 1
    ON CONFLICT (job_queue) DO UPDATE SET left_at = excluded.left_at;
    RETURN NULL;
END
$$;
CREATE TRIGGER note_taken AFTER UPDATE ON ready
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION note_departure();
CREATE TRIGGER note_removed AFTER DELETE ON ready
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION note_departure();

CREATE FUNCTION forget_departure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM queue_departures WHERE job_queue = OLD.name;
    RETURN NULL;
END
$$;
CREATE TRIGGER forget_departure AFTER DELETE ON job_queues FOR EACH ROW EXECUTE FUNCTION forget_departure();
