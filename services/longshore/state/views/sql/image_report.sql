-- name: list_starts
-- How attempts came by their images, by image and instance type, those with most starts first.
-- $1 image or NULL, $2 limit
SELECT image, instance_type, sum(starts)::bigint AS starts, sum(pulls)::bigint AS pulls,
    sum(pull_seconds) AS pull_seconds, max(slowest_seconds) AS slowest_seconds,
    sum(pulled_bytes)::bigint AS pulled_bytes
FROM image_starts
WHERE $1::text IS NULL OR image = $1
GROUP BY 1, 2
ORDER BY 3 DESC, 1, 2
LIMIT $2
