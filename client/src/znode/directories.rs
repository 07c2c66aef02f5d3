//! The nodes that every broker makes at its start if they are not there.

use super::{admin, broker, config, consumer, notification, producer_ids, topic};

/// In the order in which Kafka 3.9 makes them; none has data.
pub const AT_START: [&str; 14] = [
    consumer::CONSUMERS,
    broker::IDS,
    topic::TOPICS,
    config::CHANGES,
    admin::DELETE_TOPICS,
    broker::SEQID,
    notification::ISR_CHANGES,
    producer_ids::PATH,
    notification::LOG_DIR_EVENTS,
    config::TOPICS,
    config::CLIENTS,
    config::USERS,
    config::BROKERS,
    config::IPS,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_kafkas() {
        assert_eq!(
            AT_START.join(" "),
            "/consumers /brokers/ids /brokers/topics /config/changes /admin/delete_topics /brokers/seqid \
             /isr_change_notification /latest_producer_id_block /log_dir_event_notification /config/topics \
             /config/clients /config/users /config/brokers /config/ips"
        );
    }
}
