-- name: activities
-- Decisions about one or all environments, newest first.
-- $1 environment or NULL for all, $2 only those before this one, $3 limit
SELECT activity_id, compute_environment, order_id, desiredv_cpus, ordered, terminated, reason, at
FROM scaling_activities
WHERE ($1::text IS NULL OR compute_environment = $1) AND activity_id < $2
ORDER BY activity_id DESC
LIMIT $3

-- name: capacity
-- What environments have, summed by what their instances do, and the last decision about each.
-- $1 environments, empty for all
WITH held AS (
    SELECT instance_id, sum(vcpu_milli) / 1000.0 AS vcpus
    FROM attempts WHERE status <> 'ENDED' GROUP BY instance_id
), there AS (
    SELECT i.compute_environment, i.vcpus, i.price_per_hour, h.vcpus AS held,
        CASE
            -- A slot takes one attempt and no other: that it leaves afterwards is its nature.
            WHEN i.instance_type LIKE 'fargate.%' AND h.vcpus > 0 THEN 'busy'
            WHEN i.status = 'TERMINATING' OR a.status <> 'READY' THEN 'draining'
            WHEN a.status IS NULL THEN 'booting'
            WHEN a.health <> 'HEALTHY' THEN 'unfit'
            WHEN h.vcpus > 0 THEN 'busy'
            ELSE 'idle'
        END AS doing
    FROM instances i LEFT JOIN agents a USING (instance_id) LEFT JOIN held h USING (instance_id)
    WHERE i.ended_at IS NULL
    UNION ALL
    SELECT a.compute_environment, a.vcpu_milli / 1000.0, 0, h.vcpus,
        CASE WHEN a.status <> 'READY' THEN 'draining' WHEN a.health <> 'HEALTHY' THEN 'unfit'
            WHEN h.vcpus > 0 THEN 'busy' ELSE 'idle' END
    FROM agents a LEFT JOIN held h USING (instance_id)
    WHERE a.unmanaged AND a.status <> 'LOST'
), sums AS (
    SELECT compute_environment,
        count(*) FILTER (WHERE doing = 'busy') AS busy_instances,
        sum(vcpus) FILTER (WHERE doing = 'busy') AS busy_vcpus,
        count(*) FILTER (WHERE doing = 'idle') AS idle_instances,
        sum(vcpus) FILTER (WHERE doing = 'idle') AS idle_vcpus,
        count(*) FILTER (WHERE doing = 'booting') AS booting_instances,
        sum(vcpus) FILTER (WHERE doing = 'booting') AS booting_vcpus,
        count(*) FILTER (WHERE doing = 'draining') AS draining_instances,
        sum(vcpus) FILTER (WHERE doing = 'draining') AS draining_vcpus,
        count(*) FILTER (WHERE doing = 'unfit') AS unfit_instances,
        sum(vcpus) FILTER (WHERE doing = 'unfit') AS unfit_vcpus,
        sum(held) AS held_vcpus, sum(price_per_hour) AS cost_per_hour
    FROM there GROUP BY compute_environment
), waiting AS (
    SELECT e.compute_environment, sum(d.runnable)::bigint AS runnable
    FROM job_queue_environments e JOIN shapes s USING (job_queue) JOIN demand d USING (shape_id)
    GROUP BY e.compute_environment
)
SELECT e.name, e.type, e.resource_type, e.state, e.status, e.status_reason, e.minv_cpus,
    e.desiredv_cpus, coalesce(e.maxv_cpus, e.unmanagedv_cpus) AS maxv_cpus,
    s.busy_instances, s.busy_vcpus, s.idle_instances, s.idle_vcpus, s.booting_instances,
    s.booting_vcpus, s.draining_instances, s.draining_vcpus, s.unfit_instances, s.unfit_vcpus,
    s.held_vcpus, s.cost_per_hour,
    w.runnable, a.activity_id, a.order_id, a.desiredv_cpus AS settledv_cpus, a.ordered,
    a.terminated, a.reason, a.at
FROM compute_environments e
LEFT JOIN sums s ON s.compute_environment = e.name
LEFT JOIN waiting w ON w.compute_environment = e.name
LEFT JOIN LATERAL (SELECT * FROM scaling_activities x WHERE x.compute_environment = e.name
    ORDER BY x.activity_id DESC LIMIT 1) a ON true
WHERE e.status <> 'DELETED' AND (cardinality($1::text[]) = 0 OR e.name = ANY ($1))
ORDER BY e.name

-- name: remarked
-- Agents with something to remark, alike ones together: with one of them and what it says.
-- $1 environments, empty for all
SELECT a.compute_environment, a.health, a.network, a.network_detail <> '' AS is_elsewhere, count(*) AS count,
    min(a.instance_id) AS instance_id,
    (array_agg(a.health_detail ORDER BY a.instance_id))[1] AS health_detail,
    (array_agg(a.network_detail ORDER BY a.instance_id))[1] AS network_detail
FROM agents a
WHERE a.status <> 'LOST' AND (a.health <> 'HEALTHY' OR a.network_detail <> '')
    AND (cardinality($1::text[]) = 0 OR a.compute_environment = ANY ($1))
    AND NOT EXISTS (SELECT FROM instances i WHERE i.instance_id = a.instance_id AND i.ended_at IS NOT NULL)
GROUP BY 1, 2, 3, 4
ORDER BY 1, 2, 3, 4
