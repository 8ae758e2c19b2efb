-- Fills a database as it is after a long time; records.py sets the numbers in braces.
INSERT INTO compute_environments (name, uuid, type, state, status, detail, minv_cpus, maxv_cpus)
SELECT 'e' || n, gen_random_uuid(), 'MANAGED', 'ENABLED', 'VALID', '{}', 0, 256
FROM generate_series(1, {queues}) n;
INSERT INTO job_queues (name, state, status, priority)
SELECT 'q' || n, 'ENABLED', 'VALID', 1 FROM generate_series(1, {queues}) n;
INSERT INTO job_queue_environments SELECT 'q' || n, 'e' || n, 0 FROM generate_series(1, {queues}) n;
INSERT INTO shapes (job_queue, vcpu_milli, memory_mib, gpus)
SELECT 'q' || n % {queues} + 1, 1000, n, 0 FROM generate_series(1, {shapes}) n;

INSERT INTO capacity_orders (order_id, compute_environment, target_vcpus, entries, reason, closed_at)
VALUES ('00000000-0000-0000-0000-000000000001', 'e1', 1, '[]', 'bench', now());
INSERT INTO instances (instance_id, order_id, compute_environment, provider, instance_type, purchase_option, vcpus,
    memory_mib, price_per_hour, status, ordered_at, launched_at, ended_at)
SELECT 'i-' || lpad(to_hex(n), 17, '0'), '00000000-0000-0000-0000-000000000001', 'e' || n % {queues} + 1, 'bench',
    'c6i.large', 'ON_DEMAND', 2, 4096, 0.1, CASE WHEN n % 100 = 0 THEN 'LAUNCHED' ELSE 'TERMINATED' END,
    at - interval '1 hour', at - interval '1 hour', CASE WHEN n % 100 > 0 THEN at END
FROM generate_series(1, {instances}) n, LATERAL (SELECT now() - make_interval(mins => n % 120000) AS at) t;

-- Jobs that are over, with two attempts each; every 10,000th of them still runs its second.
INSERT INTO jobs (job_id, seq, job_queue, shape_id, name, definition_name, definition_revision, status, attempt,
    attempts_max, started_at, stopped_at)
SELECT lpad(to_hex(n), 32, '0')::uuid, n, s.job_queue, s.shape_id, 'job', 'def', 1,
    CASE WHEN n % 10000 = 0 THEN 'RUNNING' ELSE 'SUCCEEDED' END, 2, 2, at, CASE WHEN n % 10000 > 0 THEN at END
FROM generate_series(1, {attempts} / 2) n, LATERAL (SELECT now() - make_interval(secs => n % 7776000) AS at) t,
    shapes s WHERE s.shape_id = n % {shapes} + 1;
INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id, compute_environment, status, vcpu_milli,
    memory_mib, gpus, log_stream_name, placed_at, started_at, stopped_at)
SELECT job_id, -1, try, md5(job_id::text || try), 'i-' || lpad(to_hex(seq % {instances} + 1), 17, '0'),
    'e' || seq % {queues} + 1, CASE WHEN is_live THEN 'RUNNING' ELSE 'ENDED' END, 1000, 64, 0, 'def/default/x',
    started_at - interval '1 minute', started_at, CASE WHEN NOT is_live THEN started_at END
FROM jobs, generate_series(1, 2) try, LATERAL (SELECT stopped_at IS NULL AND try = 2 AS is_live) l;
INSERT INTO queue_costs (job_queue, day, cost)
SELECT j.job_queue, (t.stopped_at AT TIME ZONE 'UTC')::date,
    sum(held_cost(i, t.vcpu_milli, t.memory_mib, t.gpus, t.stopped_at - t.placed_at))
FROM attempts t JOIN instances i USING (instance_id) JOIN jobs j USING (job_id, array_index)
WHERE t.status = 'ENDED' GROUP BY 1, 2;
INSERT INTO environment_costs (compute_environment, day, cost)
SELECT compute_environment, (ended_at AT TIME ZONE 'UTC')::date,
    sum(price_per_hour * extract(epoch FROM ended_at - launched_at) / 3600)
FROM instances WHERE ended_at IS NOT NULL GROUP BY 1, 2;

-- All that waits is in one queue, in a hundred shapes.
INSERT INTO jobs (job_id, seq, job_queue, shape_id, name, definition_name, definition_revision, status)
SELECT lpad(to_hex({attempts} + n), 32, '0')::uuid, {attempts} + n, 'q1', s.shape_id, 'job', 'def', 1, 'RUNNABLE'
FROM generate_series(1, {waiting}) n, shapes s
WHERE s.shape_id = (n % ({shapes} / {queues}) + 1) * {queues};
INSERT INTO ready (job_queue, seq, next_index, end_index, job_id, shape_id)
SELECT job_queue, seq, -1, 0, job_id, shape_id FROM jobs WHERE status = 'RUNNABLE';
INSERT INTO demand (shape_id, runnable) SELECT shape_id, count(*) FROM ready GROUP BY 1;
