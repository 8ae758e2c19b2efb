-- name: add
-- Counts attempts that began to run, by their image and the type of their instance.
-- $1 instances, $2 images, $3 seconds of pulls or NULL, $4 bytes, $5 now
INSERT INTO image_starts AS s (image, instance_type, day, starts, pulls, pull_seconds, slowest_seconds, pulled_bytes)
SELECT n.image, a.instance_type, ($5::timestamptz AT TIME ZONE 'UTC')::date, count(*), count(n.seconds),
    coalesce(sum(n.seconds), 0), coalesce(max(n.seconds), 0), sum(n.bytes)::bigint
FROM unnest($1::text[], $2::text[], $3::float8[], $4::bigint[]) AS n (instance_id, image, seconds, bytes)
JOIN agents a USING (instance_id)
GROUP BY 1, 2
ORDER BY 1, 2
ON CONFLICT (image, instance_type, day) DO UPDATE SET starts = s.starts + excluded.starts,
    pulls = s.pulls + excluded.pulls, pull_seconds = s.pull_seconds + excluded.pull_seconds,
    slowest_seconds = greatest(s.slowest_seconds, excluded.slowest_seconds),
    pulled_bytes = s.pulled_bytes + excluded.pulled_bytes

-- name: prune
-- Forgets days before one; $1 the day
DELETE FROM image_starts WHERE day < $1
