-- name: add_larger
-- Makes shapes that are like others but for their memory, where missing, and notes that all are used.
-- $1 shapes, $2 their memory instead, in MiB
INSERT INTO shapes (job_queue, vcpu_milli, memory_mib, gpus, nodes, instance_type, priority, share_identifier)
SELECT DISTINCT s.job_queue, s.vcpu_milli, w.memory_mib, s.gpus, s.nodes, s.instance_type, s.priority, s.share_identifier
FROM unnest($1::integer[], $2::bigint[]) AS w (shape_id, memory_mib) JOIN shapes s USING (shape_id)
ORDER BY 1, 2, 3, 4, 5, 6, 7, 8
ON CONFLICT (job_queue, vcpu_milli, memory_mib, gpus, nodes, instance_type, priority, share_identifier)
    DO UPDATE SET used_on = current_date WHERE shapes.used_on < current_date

-- name: find_larger
-- Shapes that are like others but for their memory.
-- $1 shapes, $2 their memory instead, in MiB
SELECT w.shape_id, w.memory_mib, l.shape_id AS larger
FROM unnest($1::integer[], $2::bigint[]) AS w (shape_id, memory_mib)
JOIN shapes s USING (shape_id)
JOIN shapes l ON l.job_queue = s.job_queue AND l.vcpu_milli = s.vcpu_milli AND l.memory_mib = w.memory_mib
    AND l.gpus = s.gpus AND l.nodes = s.nodes AND l.instance_type = s.instance_type AND l.priority = s.priority
    AND l.share_identifier = s.share_identifier
