"""The rolling order: three queues on the same three compute environments, each in another order.

Queue 1 fills A, then B, then C; queue 2 B, C, A; queue 3 C, A, B. So all three environments grow at
the same time when all queues have work, and a queue with more than its first environment can hold
goes on to the next one. `workload.yaml` is the same for `longshore simulate`.
"""
