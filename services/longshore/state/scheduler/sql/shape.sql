-- name: larger
-- Shapes that are like others but for their memory, made where missing.
-- $1 shapes, $2 their memory instead, in MiB
SELECT shape_id, memory_mib, shape_like(shape_id, jsonb_build_object('memory_mib', memory_mib)) AS larger
FROM unnest($1::integer[], $2::bigint[]) AS w (shape_id, memory_mib)
