//! A broker says that it is about to stop (ControlledShutdown, `KafkaController.doControlledShutdown`).

use client::ids::{BrokerEpoch, BrokerId};
use client::wire::messages::controlled_shutdown_response::RemainingPartition;
use client::wire::messages::{ControlledShutdownRequest, ControlledShutdownResponse};
use client::wire::{ErrorCode, Str};

use super::partitions::Strategy;
use super::{Replica, Term};
use crate::world::{Trouble, World};

impl<W: World> Term<W> {
    /// Moves leadership off the broker and takes it out of all ISRs. The answer names what it
    /// still leads, for want of another replica in sync.
    pub async fn controlled_shutdown(
        &mut self,
        request: &ControlledShutdownRequest,
    ) -> Result<ControlledShutdownResponse, Trouble> {
        let (id, epoch) = (BrokerId(request.broker_id), BrokerEpoch(request.broker_epoch));
        let refused = |error: ErrorCode| {
            tracing::warn!(broker = %id, error = error.name(), "a broker's request to leave is refused");
            ControlledShutdownResponse { error_code: error.code(), ..ControlledShutdownResponse::default() }
        };
        let Some(broker) = self.cluster.brokers().get(&id) else {
            let unknown =
                if epoch.0 < 0 { ErrorCode::BrokerNotAvailable } else { ErrorCode::UnknownServerError };
            return Ok(refused(unknown));
        };
        if epoch.0 >= 0 && epoch < broker.epoch {
            return Ok(refused(ErrorCode::StaleBrokerEpoch));
        }
        self.cluster.begin_shutdown(id);
        self.relieve(id).await?;
        let remaining = self.cluster.replicated_partitions_led_by(id);
        tracing::info!(broker = %id, still_led = remaining.len(), "a broker may leave");
        let remaining = remaining
            .into_iter()
            .map(|p| RemainingPartition { topic_name: Str::from(&*p.topic), partition_index: p.partition });
        Ok(ControlledShutdownResponse {
            error_code: ErrorCode::None.code(),
            remaining_partitions: remaining.collect(),
        })
    }

    async fn relieve(&mut self, id: BrokerId) -> Result<(), Trouble> {
        let concerned = |p: &&client::ids::TopicPartition| {
            self.cluster.replicas(p).len() > 1
                && self.cluster.leadership(p).is_some()
                && !self.cluster.is_to_delete(&p.topic)
        };
        let hosted: Vec<_> = self.cluster.hosted_by(id).filter(concerned).cloned().collect();
        let leads = |p: &_| self.cluster.leadership(p).is_some_and(|state| state.leader == id);
        let (led, followed): (Vec<_>, Vec<_>) = hosted.into_iter().partition(leads);
        tracing::info!(broker = %id, leads = led.len(), follows = followed.len(), "a broker wants to leave");
        self.bring_online(led, Strategy::ControlledShutdown).await?;
        // Kafka stops its fetchers before it takes it out of the ISRs, whose leaders then can acknowledge nothing until
        // that is written. Here they stop when it is.
        let followed: Vec<Replica> = followed.into_iter().map(|partition| (partition, id)).collect();
        self.replicas_offline(followed).await
    }
}
