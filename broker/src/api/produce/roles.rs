//! A broker that has just started does not know yet what it leads. Kafka's refuses records then, batch
//! by batch, until its role arrives between two of them: the second of two batches on their way is then
//! out of order, upon which librdkafka numbers all its records anew and stores twice what was stored
//! before the broker died. Here they wait.

use std::time::Duration;

use client::wire::Str;
use tokio::time::{Instant, sleep_until};

use super::Context;

/// A controller needs a fraction of this to tell a broker that it leads. Shorter than a new leader elsewhere waits
/// for what is stuck here (`partition::leader`): it may lead what this broker led when it died.
const PATIENCE: Duration = Duration::from_secs(3);

/// Waits until this broker knows its role in the partitions, but not beyond `deadline`.
pub(super) async fn known<'a>(
    context: &Context,
    partitions: impl Iterator<Item = &'a (Str, i32)> + Clone,
    deadline: Instant,
) {
    let any_to_come = || partitions.clone().any(|(topic, index)| is_to_come(context, topic, *index));
    if !any_to_come() {
        return;
    }
    let (mut roles, mut cluster) = (context.replicas.role_changes(), context.metadata.changed());
    let deadline = deadline.min(Instant::now() + PATIENCE);
    // Once more: what came before the subscription wakes nobody.
    while any_to_come() {
        tokio::select! {
            Ok(()) = roles.changed() => {}
            Ok(()) = cluster.changed() => {}
            () = sleep_until(deadline) => return,
        }
    }
}

/// Whether the controller has a role for this broker that it has yet to tell: it names it as leader to
/// everybody, or has said nothing at all so far.
fn is_to_come(context: &Context, topic: &str, partition: i32) -> bool {
    let replica = context.replicas.partition(topic, partition).map(|replica| replica.status());
    if replica.is_some_and(|status| status.leading_since.is_some() || status.offline) {
        return false;
    }
    let cluster = context.metadata.snapshot();
    if cluster.brokers().is_empty() {
        return true;
    }
    let Some(announced) = cluster.partition(topic, partition) else { return false };
    announced.leader == Some(context.admin.me)
        && replica.is_none_or(|status| status.epoch < announced.leader_epoch)
}
