-- What is asked for often costs by what is live, not by what waits or ever was: sums kept by those who change what is
-- summed.

-- Jobs and children that wait in a stretch of a queue, so that those ahead of one are counted without reading them.
CREATE TABLE ready_blocks (
    job_queue text NOT NULL,
    rank smallint NOT NULL,
    -- The least seq of the stretch: see ready_block.
    first_seq bigint NOT NULL,
    jobs bigint NOT NULL CHECK (jobs >= 0),
    PRIMARY KEY (job_queue, rank, first_seq)
) WITH (fillfactor = 50);

-- The stretch in which a seq is: 4,096 of them are one.
CREATE FUNCTION ready_block(seq bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN seq & ~4095::bigint;

-- Whoever changes `ready` keeps the sums with it.
CREATE FUNCTION count_ready() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO ready_blocks AS b (job_queue, rank, first_seq, jobs)
        SELECT job_queue, rank, ready_block(seq), sum(end_index - next_index)
        FROM added GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        ON CONFLICT (job_queue, rank, first_seq) DO UPDATE SET jobs = b.jobs + excluded.jobs;
    ELSIF TG_OP = 'UPDATE' THEN
        -- An entry stays where it is and only loses children.
        UPDATE ready_blocks b SET jobs = b.jobs + c.difference
        FROM (
            SELECT job_queue, rank, ready_block(seq) AS first_seq, sum(jobs) AS difference
            FROM (
                SELECT job_queue, rank, seq, end_index - next_index AS jobs FROM added
                UNION ALL
                SELECT job_queue, rank, seq, next_index - end_index FROM removed
            ) AS change
            GROUP BY 1, 2, 3
        ) AS c
        WHERE b.job_queue = c.job_queue AND b.rank = c.rank AND b.first_seq = c.first_seq;
    ELSE
        UPDATE ready_blocks b SET jobs = b.jobs - c.jobs
        FROM (
            SELECT job_queue, rank, ready_block(seq) AS first_seq, sum(end_index - next_index) AS jobs
            FROM removed GROUP BY 1, 2, 3
        ) AS c
        WHERE b.job_queue = c.job_queue AND b.rank = c.rank AND b.first_seq = c.first_seq;
        DELETE FROM ready_blocks b
        USING (SELECT DISTINCT job_queue, rank, ready_block(seq) AS first_seq FROM removed) AS c
        WHERE b.job_queue = c.job_queue AND b.rank = c.rank AND b.first_seq = c.first_seq AND b.jobs = 0;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_added AFTER INSERT ON ready
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_ready();
CREATE TRIGGER count_taken AFTER UPDATE ON ready
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_ready();
CREATE TRIGGER count_removed AFTER DELETE ON ready
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_ready();

INSERT INTO ready_blocks (job_queue, rank, first_seq, jobs)
SELECT job_queue, rank, ready_block(seq), sum(end_index - next_index) FROM ready GROUP BY 1, 2, 3;

-- What a part of an instance costs for a time: the mean of its shares of vCPUs, memory and, where there are some, GPUs.
CREATE FUNCTION held_cost(i instances, vcpu_milli bigint, memory_mib bigint, gpus integer, held interval)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN i.price_per_hour * extract(epoch FROM held) / 3600
    * (vcpu_milli / (i.vcpus * 1000) + memory_mib::float8 / i.memory_mib
        + CASE WHEN i.gpus > 0 THEN gpus::float8 / i.gpus ELSE 0 END)
    / CASE WHEN i.gpus > 0 THEN 3 ELSE 2 END;

-- What attempts held of instances until they ended, by the UTC day of their end. The scheduler adds to it as it ends
-- them.
CREATE TABLE queue_costs (
    job_queue text NOT NULL,
    day date NOT NULL,
    cost double precision NOT NULL,
    PRIMARY KEY (job_queue, day)
);
-- What instances that are over cost, by the UTC day of their end. Provisioning adds to it as they end.
CREATE TABLE environment_costs (
    compute_environment text NOT NULL,
    day date NOT NULL,
    cost double precision NOT NULL,
    PRIMARY KEY (compute_environment, day)
);

INSERT INTO queue_costs (job_queue, day, cost)
SELECT j.job_queue, (t.stopped_at AT TIME ZONE 'UTC')::date,
    sum(held_cost(i, t.vcpu_milli, t.memory_mib, t.gpus, t.stopped_at - t.placed_at))
FROM attempts t
JOIN instances i USING (instance_id)
JOIN jobs j ON j.job_id = t.job_id AND j.array_index = -1
WHERE t.status = 'ENDED' AND i.price_per_hour > 0
GROUP BY 1, 2;
INSERT INTO environment_costs (compute_environment, day, cost)
SELECT compute_environment, (ended_at AT TIME ZONE 'UTC')::date,
    sum(price_per_hour * extract(epoch FROM ended_at - launched_at) / 3600)
FROM instances WHERE ended_at IS NOT NULL AND launched_at IS NOT NULL
GROUP BY 1, 2;

-- Shapes of which nothing waits have no row from now on.
DELETE FROM demand WHERE runnable = 0;
