//! LeaderAndIsr: the controller assigns partitions and their leaders.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::ids::{BrokerEpoch, ControllerEpoch, Uuid};
use client::wire::messages::leader_and_isr_response::{LeaderAndIsrPartitionError, LeaderAndIsrTopicError};
use client::wire::messages::{LeaderAndIsrRequest, LeaderAndIsrResponse};
use client::wire::{ErrorCode, Str};

use super::{Order, Replicas};
use crate::blocking::off_the_runtime;
use crate::clock::Now;

/// The first version whose answer is grouped by topic id.
const ANSWER_BY_TOPIC_ID: i16 = 5;

/// How many partitions are brought into their role at a time where each waits for a few syncs, which disks do better
/// together than one after the other.
const AT_A_TIME: usize = 8;

impl Replicas {
    /// Carries a LeaderAndIsr request out.
    pub async fn leader_and_isr(
        self: &Arc<Self>,
        request: LeaderAndIsrRequest,
        version: i16,
    ) -> LeaderAndIsrResponse {
        let replicas = Arc::clone(self);
        let turn = Arc::clone(&self.control).lock_owned().await;
        off_the_runtime(move || {
            let response = replicas.assign(&request, version);
            drop(turn);
            response
        })
        .await
    }

    fn assign(&self, request: &LeaderAndIsrRequest, version: i16) -> LeaderAndIsrResponse {
        let (broker, controller) =
            (BrokerEpoch(request.broker_epoch), ControllerEpoch(request.controller_epoch));
        let mut orders: Vec<(Order, ErrorCode)> =
            Order::all_of(request).into_iter().map(|order| (order, ErrorCode::None)).collect();
        if let Err(fenced) = self.fence.admit(broker, controller, || ()) {
            tracing::warn!(controller = request.controller_id, %fenced, "LeaderAndIsr refused");
            for (_, result) in &mut orders {
                *result = ErrorCode::from(fenced);
            }
            return response(&orders, ErrorCode::from(fenced), version);
        }
        // An election waits for no disk, nor, on a busy machine, for threads to be made.
        let (mut slow, at_once): (Vec<_>, Vec<_>) =
            orders.iter_mut().partition(|(order, _)| self.waits_for_disk(order));
        std::thread::scope(|scope| {
            let share = slow.len().div_ceil(AT_A_TIME).max(1);
            let runtime = tokio::runtime::Handle::current();
            for some in slow.chunks_mut(share) {
                let runtime = runtime.clone();
                scope.spawn(move || {
                    let _entered = runtime.enter();
                    some.iter_mut().for_each(|order| self.carry_out(order));
                });
            }
            at_once.into_iter().for_each(|order| self.carry_out(order));
        });
        self.assigned.send_replace(true);
        self.orders.send_modify(|count| *count += 1);
        response(&orders, ErrorCode::None, version)
    }

    fn carry_out(&self, (order, result): &mut (Order, ErrorCode)) {
        *result = order.carry_out(self, Now::read());
    }

    /// Whether a log has to be made, or what it has to be synced.
    fn waits_for_disk(&self, order: &Order) -> bool {
        let hosted = self.hosted.get(&order.id).filter(|partition| partition.has_log());
        hosted.is_none_or(|partition| partition.flushes_before_ack())
    }
}

fn response(orders: &[(Order, ErrorCode)], error: ErrorCode, version: i16) -> LeaderAndIsrResponse {
    let mut response = LeaderAndIsrResponse { error_code: error.code(), ..LeaderAndIsrResponse::default() };
    let one = |order: &Order, result: ErrorCode| LeaderAndIsrPartitionError {
        partition_index: order.id.partition,
        error_code: result.code(),
        ..LeaderAndIsrPartitionError::default()
    };
    if version < ANSWER_BY_TOPIC_ID {
        let named = |(order, result): &(Order, ErrorCode)| LeaderAndIsrPartitionError {
            topic_name: Str::from(&*order.id.topic),
            ..one(order, *result)
        };
        response.partition_errors = orders.iter().map(named).collect();
        return response;
    }
    let mut topics: BTreeMap<Uuid, Vec<LeaderAndIsrPartitionError>> = BTreeMap::new();
    for (order, result) in orders {
        topics.entry(order.state.topic_id).or_default().push(one(order, *result));
    }
    response.topics = topics
        .into_iter()
        .map(|(topic_id, partition_errors)| LeaderAndIsrTopicError { topic_id, partition_errors })
        .collect();
    response
}
