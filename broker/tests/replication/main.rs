//! Replication between brokers with real logs and sockets: acknowledgement, failover, truncation,
//! the in-sync set.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cluster;
mod server;

use std::time::Duration;

use broker::clock::Now;
use broker::partition::{Append, PartitionError, RequiredAcks};
use broker::replicas::DirFailure;
use client::ids::{LeaderEpoch, Offset, Uuid};
use client::record::builder::{BatchBuilder, BatchOptions, NewRecord};
use client::wire::ErrorCode;
use client::wire::Str;
use client::wire::messages::StopReplicaRequest;
use client::wire::messages::stop_replica_request::{StopReplicaPartitionState, StopReplicaTopicState};

use crate::cluster::{Cluster, Refusal, TOPIC};

fn batch(records: usize, text: &str) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default()).unwrap();
    for _ in 0..records {
        builder
            .push(&NewRecord { value: Some(text.as_bytes()), timestamp: 1, ..NewRecord::default() })
            .unwrap();
    }
    builder.finish().unwrap()
}

fn append(cluster: &Cluster, id: i32, records: usize, acks: RequiredAcks) -> Result<Append, PartitionError> {
    let text = format!("by {id}");
    cluster.partition(id).append_as_leader(&mut batch(records, &text), acks, Now::read())
}

/// Appends with acks=all and waits until it is replicated.
fn produce(cluster: &Cluster, id: i32, records: usize) -> Result<Append, PartitionError> {
    let appended = append(cluster, id, records, RequiredAcks::All)?;
    let partition = cluster.partition(id);
    cluster.block_on(id, partition.wait_for_acks(appended.epoch, appended.required))?;
    Ok(appended)
}

/// Records acknowledged by all three in sync, then the power of all three machines. What is left.
fn left_after_a_power_failure(flush_before_ack: bool) -> Offset {
    let mut cluster = Cluster::on_machines(&[1, 2, 3], flush_before_ack);
    cluster.elect(1, &[1, 2, 3], &[1, 2, 3]);
    for _ in 0..5 {
        let appended = append(&cluster, 1, 2, RequiredAcks::All).unwrap();
        let partition = cluster.partition(1);
        let (epoch, required) = (appended.epoch, appended.required);
        cluster.block_on(1, partition.wait_for(RequiredAcks::All, epoch, required)).unwrap();
    }
    for id in [1, 2, 3] {
        cluster.cut_power(id);
    }
    for id in [1, 2, 3] {
        cluster.start(id);
    }
    cluster.elect(2, &[1, 2, 3], &[1, 2, 3]);
    cluster.partition(2).status().end
}

#[test]
fn what_was_synced_before_it_was_acknowledged_survives_the_power_of_all() {
    assert_eq!(left_after_a_power_failure(true), Offset(10));
    assert_eq!(left_after_a_power_failure(false), Offset(0), "nothing was synced by then");
}

#[test]
fn the_watermark_waits_for_the_leaders_own_disk_and_many_share_a_sync() {
    let mut cluster = Cluster::on_machines(&[1], true);
    cluster.elect(1, &[1], &[1]);
    let appends: Vec<Append> =
        (0..20).map(|_| append(&cluster, 1, 1, RequiredAcks::Leader).unwrap()).collect();
    let partition = cluster.partition(1);
    assert_eq!(partition.status().high_watermark, Offset(0), "consumers see only what is on disk");
    let waits = appends.iter().map(|a| partition.wait_for(RequiredAcks::Leader, a.epoch, a.required));
    for stored in cluster.block_on(1, futures::future::join_all(waits)) {
        stored.unwrap();
    }
    assert_eq!(partition.status().high_watermark, Offset(20));
    drop(partition);
    cluster.cut_power(1);
    cluster.start(1);
    cluster.elect(1, &[1], &[1]);
    assert_eq!(cluster.partition(1).status().end, Offset(20));
}

#[test]
fn a_follower_takes_over_and_the_old_leader_truncates_what_only_it_had() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1, &[1, 2, 3], &[1, 2, 3]);
    produce(&cluster, 1, 10).unwrap();
    cluster.wait_for(2, "has what was acknowledged", |status| status.end == Offset(10));

    // Followers are told of a new leader that is not reachable for them; the old one goes on
    // appending what nobody fetches.
    cluster.elect(2, &[1, 2, 3], &[2, 3]);
    append(&cluster, 1, 5, RequiredAcks::Leader).unwrap();
    assert_eq!(cluster.partition(1).status().end, Offset(15));
    cluster.kill(1);

    cluster.elect(2, &[2, 3], &[2, 3]);
    assert_eq!(produce(&cluster, 2, 7).unwrap().appended.first_offset, Offset(10));

    cluster.start(1);
    assert_eq!(cluster.tell_state(1).topics[0].partition_errors[0].error_code, 0);
    cluster.wait_for_state(|state| state.isr == [2, 3, 1]);
    produce(&cluster, 2, 1).unwrap();
    for id in [1, 2, 3] {
        cluster.wait_for(id, "has everything", |status| {
            (status.end, status.high_watermark) == (Offset(18), Offset(18))
        });
    }
    let segments = cluster.segments(2);
    assert_eq!(segments, cluster.segments(1));
    assert_eq!(segments, cluster.segments(3));
    let epochs = |id| {
        // Written in the background within a second.
        cluster.partition(id).flush(Now::read()).unwrap();
        std::fs::read_to_string(cluster.partition_dir(id).join("leader-epoch-checkpoint")).unwrap()
    };
    assert_eq!(epochs(1), "0\n2\n0 0\n2 10\n");
}

#[test]
fn a_leader_that_is_not_known_yet_is_followed_as_soon_as_it_is() {
    let cluster = Cluster::new(&[1, 2]);
    // As after an UpdateMetadata that comes a second time, late.
    cluster.tell_metadata_of(2, &[2]);
    cluster.elect(1, &[1], &[1, 2]);
    produce(&cluster, 1, 3).unwrap();
    let status = cluster.partition(2).status();
    assert_eq!((status.epoch, status.end), (LeaderEpoch(0), Offset(0)));
    cluster.tell_metadata();
    cluster.wait_for(2, "has what was acknowledged", |status| status.high_watermark == Offset(3));
    cluster.wait_for_state(|state| state.isr == [1, 2]);
}

#[test]
fn a_killed_follower_leaves_the_in_sync_set_and_comes_back() {
    let mut cluster = Cluster::new(&[]);
    cluster.lag_max = Duration::from_millis(300);
    cluster.min_insync = 2;
    cluster.add(&[1, 2, 3]);
    cluster.elect(1, &[1, 2, 3], &[1, 2, 3]);
    produce(&cluster, 1, 3).unwrap();

    cluster.kill(3);
    // It is waited for until it is dropped from the set.
    produce(&cluster, 1, 4).unwrap();
    assert_eq!(cluster.state().isr, [1, 2]);

    cluster.kill(2);
    let appended = append(&cluster, 1, 1, RequiredAcks::All).unwrap();
    cluster.wait_for_state(|state| state.isr == [1]);
    let partition = cluster.partition(1);
    // Below the minimum nothing counts as committed, though the only member has it.
    cluster.wait_for(1, "knows the set", |status| !status.may_confirm);
    assert_eq!(partition.status().high_watermark, Offset(7));
    let refused = append(&cluster, 1, 1, RequiredAcks::All).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotEnoughReplicas);
    append(&cluster, 1, 1, RequiredAcks::Leader).unwrap();

    cluster.start(2);
    assert_eq!(cluster.tell_state(2).topics[0].partition_errors[0].error_code, 0);
    let acks = partition.wait_for_acks(appended.epoch, appended.required);
    cluster.block_on(1, acks).unwrap();
    cluster.wait_for_state(|state| state.isr == [1, 2]);
}

#[test]
fn a_deposed_leader_confirms_nothing() {
    let cluster = Cluster::new(&[1, 2]);
    cluster.elect(1, &[1, 2], &[1]);
    let appended = append(&cluster, 1, 1, RequiredAcks::All).unwrap();
    let partition = cluster.partition(1);
    let waiting = partition.wait_for_acks(appended.epoch, appended.required);
    cluster.elect(2, &[1, 2], &[1]);
    assert_eq!(cluster.block_on(1, waiting).unwrap_err().code(), ErrorCode::NotLeaderOrFollower);
    let refused = append(&cluster, 1, 1, RequiredAcks::Leader).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotLeaderOrFollower);
}

#[test]
fn a_leader_confirmed_in_a_new_epoch_keeps_its_promises() {
    let cluster = Cluster::new(&[1, 2]);
    cluster.elect(1, &[1, 2], &[1]);
    let appended = append(&cluster, 1, 1, RequiredAcks::All).unwrap();
    cluster.elect(1, &[1, 2], &[1, 2]);
    assert_eq!(cluster.partition(1).status().epoch, LeaderEpoch(1));
    let partition = cluster.partition(1);
    cluster.block_on(1, partition.wait_for_acks(appended.epoch, appended.required)).unwrap();
}

#[test]
fn a_follower_whose_next_record_is_gone_starts_over() {
    let cluster = Cluster::new(&[1, 2]);
    cluster.elect(1, &[1], &[1]);
    produce(&cluster, 1, 20).unwrap();
    assert_eq!(cluster.partition(1).delete_records(Some(Offset(12)), Now::read()).unwrap(), Offset(12));
    assert_eq!(cluster.tell_state(2).topics[0].partition_errors[0].error_code, 0);
    cluster.wait_for_state(|state| state.isr == [1, 2]);
    let status = cluster.wait_for(2, "has the rest", |status| status.high_watermark == Offset(20));
    assert_eq!((status.log_start, status.end), (Offset(12), Offset(20)));
    let low = cluster.wait_for(1, "knows of it", |status| status.low_watermark == Offset(12));
    assert_eq!(low.log_start, Offset(12));
}

#[test]
fn watermarks_survive_a_stop_and_a_kill() {
    let mut cluster = Cluster::new(&[1, 2]);
    cluster.elect(1, &[1, 2], &[1, 2]);
    produce(&cluster, 1, 5).unwrap();
    cluster.wait_for(2, "has the watermark", |status| status.high_watermark == Offset(5));
    cluster.stop(2);
    assert!(cluster.log_dir(2).join(".kafka_cleanshutdown").exists());
    let checkpoint = cluster.log_dir(2).join("replication-offset-checkpoint");
    assert_eq!(std::fs::read_to_string(checkpoint).unwrap(), "0\n1\norders 0 5\n");
    cluster.kill(1);
    cluster.start(2);
    cluster.elect(2, &[2], &[2]);
    assert_eq!(cluster.partition(2).status().high_watermark, Offset(5));
}

#[test]
fn a_failed_directory_takes_its_partitions_offline_and_nothing_else() {
    let cluster = Cluster::new(&[1, 2]);
    cluster.elect(1, &[1, 2], &[1]);
    let appended = append(&cluster, 1, 1, RequiredAcks::All).unwrap();
    let partition = cluster.partition(1);
    let waiting = partition.wait_for_acks(appended.epoch, appended.required);
    cluster.node(1).dirs.dirs().next().unwrap().fail(&"the disk was pulled");
    assert_eq!(cluster.dir_failure(1), DirFailure { dir: cluster.log_dir(1), last: true });
    assert_eq!(cluster.block_on(1, waiting).unwrap_err().code(), ErrorCode::KafkaStorageError);
    let refused = append(&cluster, 1, 1, RequiredAcks::Leader).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::KafkaStorageError);
    for epoch in [appended.epoch.0 - 1, appended.epoch.0, appended.epoch.0 + 1].map(LeaderEpoch) {
        let refused = partition.offsets(Some(epoch)).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::KafkaStorageError, "asked in {epoch:?}");
    }

    cluster.elect(2, &[2], &[2]);
    let code = cluster.tell_state(1).topics[0].partition_errors[0].error_code;
    assert_eq!(code, ErrorCode::KafkaStorageError.code());
    produce(&cluster, 2, 1).unwrap();
}

#[test]
fn the_controller_is_asked_about_the_in_sync_set_until_it_answers() {
    let cluster = Cluster::new(&[1, 2]);
    cluster.refuse(&[
        Refusal::Whole(ErrorCode::NotController),
        Refusal::Whole(ErrorCode::StaleBrokerEpoch),
        Refusal::Partition(ErrorCode::NotController),
        Refusal::Partition(ErrorCode::UnknownServerError),
        Refusal::Partition(ErrorCode::IneligibleReplica),
        Refusal::Lost,
    ]);
    cluster.elect(1, &[1], &[1, 2]);
    // Written, though its answer is lost; the next one finds it written.
    cluster.wait_for_state(|state| state.isr == [1, 2]);
    produce(&cluster, 1, 1).unwrap();
    assert_eq!(cluster.refusals_left(), 0);
}

#[test]
fn a_controller_that_knows_better_is_waited_for() {
    let mut cluster = Cluster::new(&[]);
    cluster.min_insync = 2;
    cluster.add(&[1, 2]);
    cluster.refuse(&[Refusal::Partition(ErrorCode::InvalidUpdateVersion)]);
    cluster.elect(1, &[1], &[1, 2]);
    // The proposal counts towards confirming, but not towards accepting, until it is settled.
    cluster.wait_for(1, "has asked", |status| status.may_confirm);
    let refused = append(&cluster, 1, 1, RequiredAcks::All).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotEnoughReplicas);
    // Otherwise the election could void the question before it is asked, and the refusal meet the next one.
    cluster.wait_until_refused();
    cluster.elect(1, &[1], &[1, 2]);
    cluster.wait_for_state(|state| state.isr == [1, 2]);
}

#[test]
fn the_log_of_a_former_topic_is_not_taken_for_the_new_ones() {
    let mut cluster = Cluster::new(&[1, 2]);
    cluster.elect(1, &[1, 2], &[1, 2]);
    cluster.kill(2);
    cluster.start(2);
    let told = cluster.tell_state_of(2, Uuid([8; 16]));
    assert_eq!(told.topics[0].topic_id, Uuid([8; 16]));
    assert_eq!(told.topics[0].partition_errors[0].error_code, ErrorCode::InconsistentTopicId.code());
    assert_eq!(cluster.partition(2).status().epoch, LeaderEpoch::NONE);
}

#[test]
fn controllers_are_fenced_and_repeated_orders_refused() {
    let cluster = Cluster::new(&[1, 2]);
    cluster.elect(1, &[1, 2], &[1, 2]);
    let repeated = cluster.tell_state(1);
    assert_eq!(repeated.error_code, 0);
    let code = repeated.topics[0].partition_errors[0].error_code;
    assert_eq!(code, ErrorCode::StaleControllerEpoch.code());

    let stop = |controller_epoch, leader_epoch, delete_partition| {
        let partition = StopReplicaPartitionState { partition_index: 0, leader_epoch, delete_partition };
        let topic = StopReplicaTopicState { topic_name: Str::from(TOPIC), partition_states: vec![partition] };
        let request =
            StopReplicaRequest { controller_epoch, topic_states: vec![topic], ..Default::default() };
        let response = cluster.block_on(2, cluster.node(2).replicas.stop_replica(request));
        (response.error_code, response.partition_errors.first().map(|one| one.error_code))
    };
    assert_eq!(stop(0, -2, true), (ErrorCode::StaleControllerEpoch.code(), None));
    cluster.elect(1, &[1, 2], &[1, 2]);
    assert_eq!(stop(1, 0, true), (0, Some(ErrorCode::FencedLeaderEpoch.code())));
    assert_eq!(stop(1, 1, false), (0, Some(0)));
    assert!(cluster.partition_dir(2).exists());
    assert_eq!(stop(1, -2, true), (0, Some(0)));
    assert!(!cluster.partition_dir(2).exists());
    assert!(cluster.node(2).replicas.partition(TOPIC, 0).is_none());
    assert_eq!(stop(1, -2, true), (0, Some(0)), "what is not there is stopped");
}
