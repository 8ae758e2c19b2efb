"""Decisions and capacity orders, from the domain to the wire."""

from collections.abc import Iterable

from longshore.domain.decision import Decision
from longshore.domain.order import SPOT, CapacityOrder
from longshore.v1 import provisioning_service_pb2 as provisioning_pb
from longshore.v1 import scaler_service_pb2 as pb


def order_to_request(order: CapacityOrder) -> provisioning_pb.ProvisionRequest:
    """An order for provisioning."""
    return provisioning_pb.ProvisionRequest(
        order=provisioning_pb.CapacityOrder(
            order_id=str(order.order_id),
            compute_environment=order.compute_environment,
            target_vcpus=order.target_vcpus,
            reason=order.reason,
            entries=[
                provisioning_pb.CapacityOrderEntry(
                    instance_type=entry.instance_type,
                    purchase_option=(
                        provisioning_pb.PURCHASE_OPTION_SPOT
                        if entry.purchase_option == SPOT
                        else provisioning_pb.PURCHASE_OPTION_ON_DEMAND
                    ),
                    zone=entry.zone,
                    weight=entry.weight,
                    max_count=entry.max_count,
                    price_per_hour=entry.price_per_hour,
                    rank=entry.rank,
                )
                for entry in order.entries
            ],
        )
    )


def decisions_to_response(decisions: Iterable[Decision]) -> pb.EvaluateResponse:
    """What an evaluation decided."""
    return pb.EvaluateResponse(
        decisions=[
            pb.ScalingDecision(
                compute_environment=decision.compute_environment,
                desired_vcpus=decision.desiredv_cpus,
                instances_ordered=sum(launch.count for launch in decision.launches),
                instances_terminated=decision.terminate,
                reason=decision.reason,
            )
            for decision in decisions
        ]
    )
