-- What providers could not give, and when they said so: read by who decides what to order, and by who says why jobs wait.
-- A provider's own bound on instances is lifted by the end of any of them.
CREATE VIEW shortages AS
SELECT e.value ->> 'instanceType' AS instance_type, e.value ->> 'zone' AS zone,
    e.value ->> 'purchaseOption' AS purchase_option, e.value ->> 'reason' AS reason, o.closed_at AS at
FROM capacity_orders o, jsonb_array_elements(o.errors) e
WHERE o.errors <> '[]'
    AND (e.value ->> 'reason' <> 'INSTANCE_LIMIT' OR o.closed_at >=
        coalesce((SELECT max(i.ended_at) FROM instances i), '-infinity'));
