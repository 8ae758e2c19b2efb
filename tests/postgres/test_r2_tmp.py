import time, asyncio, json, os
from datetime import timedelta, datetime, UTC
from capacity_world import a_world
from longshore.domain.catalogue import Catalogue
from longshore.domain.decision import ScalingSettings
from longshore.domain.scaling import decide, next_due
from longshore.state import scaling, capacity_report
from longshore.state.pool import transaction, connection
from longshore.state.queries import load_queries

async def test_x(database_url, tmp_path):
    async with a_world(database_url, tmp_path/"i") as w:
        for n in range(20):
            await w.environment(f"e{n}", types=["optimal"], strategy="BEST_FIT_PROGRESSIVE", maxv_cpus=20000, desiredv_cpus=10000)
        for n in range(20):
            await w.queue(f"q{n}", on=[f"e{n}", f"e{(n+1)%20}"])
        q = w.db.execute
        await q("SET session_replication_role = replica")
        await q("INSERT INTO shapes (job_queue, vcpu_milli, memory_mib, gpus) SELECT 'q'||n%20, 250*(1+n/20%16), 512*(1+n/320), 0 FROM generate_series(0,999) n")
        await q("INSERT INTO demand (shape_id, runnable) SELECT shape_id, 400 FROM shapes")
        await q("""INSERT INTO ready (job_queue, rank, seq, next_index, end_index, job_id, shape_id)
          SELECT s.job_queue, 0, g*1000+s.shape_id, -1, 0, gen_random_uuid(), s.shape_id FROM shapes s, generate_series(1,400) g""")
        await q("""INSERT INTO instances (instance_id, order_id, compute_environment, provider, instance_type, purchase_option, vcpus, memory_mib, price_per_hour, status, ended_at, ordered_at)
          SELECT 'i-'||lpad(to_hex(n),17,'0'), gen_random_uuid(), 'e'||n%20, 'local', 'm6i.2xlarge','ON_DEMAND',8,30000,0.4,
           CASE WHEN n<=10000 THEN 'LAUNCHED' WHEN n%50=0 THEN 'FAILED' ELSE 'TERMINATED' END, CASE WHEN n>10000 THEN now()-interval '1 day'-n*interval '1 second' END,
           now()-interval '1 hour'-n*interval '1 second' FROM generate_series(1,200000) n""")
        await q("""INSERT INTO agents (instance_id, compute_environment, instance_type, architecture, runtime, unmanaged, vcpu_milli, memory_mib, gpus, status, idle_since)
          SELECT instance_id, compute_environment, instance_type,'x86_64','docker',false,8000,29968,0, CASE WHEN ended_at IS NULL THEN 'READY' ELSE 'LOST' END, now() FROM instances WHERE status<>'FAILED'""")
        await q("""INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id, compute_environment, status, vcpu_milli, memory_mib, gpus, log_stream_name, stopped_at)
          SELECT gen_random_uuid(), -1, 1, 'x', 'i-'||lpad(to_hex(n%10000+1),17,'0'), 'e'||(n%10000+1)%20, CASE WHEN n<=70000 THEN 'RUNNING' ELSE 'ENDED' END, 1000, 2000, 0, 'x', CASE WHEN n>70000 THEN now() END FROM generate_series(1,400000) n""")
        await q("""INSERT INTO scaling_activities (compute_environment, desiredv_cpus, ordered, terminated, reason, at)
          SELECT 'e'||n%20, 10000, 1, 0, 'because', now()-(300000-n)*interval '10 seconds' FROM generate_series(1,300000) n""")
        await q("""INSERT INTO capacity_orders (order_id, compute_environment, target_vcpus, entries, errors, reason, closed_at)
          SELECT gen_random_uuid(), 'e'||n%20, 8, '[]', CASE WHEN n%5=0 THEN '[{"instanceType":"m6i.large","zone":"","purchaseOption":"ON_DEMAND","reason":"INSTANCE_LIMIT"}]'::jsonb ELSE '[]'::jsonb END, 'x', now()-n*interval '1 second' FROM generate_series(1,100000) n""")
        await q("SET session_replication_role = DEFAULT")
        await q("ANALYZE")
        sql = load_queries("scaling")
        now = datetime.now(UTC)
        for name, args in (("environments",()),("in_flight",()),("shortages",(now-timedelta(seconds=60),)),("offers",("local",)),("instances",(32,)),("queues",()),("demand",()),("prune",(now-timedelta(days=30),100))):
            for _ in range(2):
                t=time.perf_counter(); r=await w.db.fetch(sql[name],*args); d=time.perf_counter()-t
            print(name, len(r), f"{d*1e3:.1f} ms")
            if d>0.1:
                async with w.db.transaction():
                    for row in await w.db.fetch("EXPLAIN (ANALYZE, BUFFERS OFF) "+sql[name],*args): print("   ",row[0])
        sqlr = load_queries("capacity_report")
        for _ in range(2):
            t=time.perf_counter(); r=await w.db.fetch(sqlr["capacity"],[]); d=time.perf_counter()-t
        print("report", len(r), f"{d*1e3:.1f} ms")
        for _ in range(3):
            t=time.perf_counter()
            async with transaction(w.pool) as conn:
                seen = await scaling.load_snapshot(conn, Catalogue(), now=now, cool_down=timedelta(seconds=60))
            t1=time.perf_counter()
            ds = decide(seen.snapshot, now, ScalingSettings(consolidate=_==2))
            t2=time.perf_counter(); next_due(seen.snapshot, now, ScalingSettings())
            print(f"load {t1-t:.2f} s decide {t2-t1:.2f} s due {time.perf_counter()-t2:.3f}", ds[0].reason[:200], len(ds[0].launches), len(ds[0].alternatives))
