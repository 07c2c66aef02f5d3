//! The partitions a process hosts, and the logs under them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use broker::clock::Now;
use broker::control_fence::ControlFence;
use broker::fetcher::Following;
use broker::log::{Log, LogDirs};
use broker::partition::{
    Asker, FoundOffset, LeaderAndIsr, ListOffset, OffsetQuery, Partition, PartitionError, ReadArgs, Reader,
    Status, Surroundings, TopicConfig,
};
use broker::replicas::{Host, Naming, Order, StopOrder};
use client::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicPartition, Uuid};
use client::record::batches;
use client::wire::ErrorCode;
use client::wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use client::wire::messages::{
    LeaderAndIsrRequest, ListOffsetsRequest, ListOffsetsResponse, StopReplicaRequest,
};

use super::{Out, memory};

type Codes = (ErrorCode, Vec<(TopicPartition, ErrorCode)>);

/// See the module's doc.
#[derive(Debug)]
pub(in crate::sim) struct Roles {
    me: BrokerId,
    dirs: LogDirs,
    around: Arc<Surroundings>,
    config: Arc<TopicConfig>,
    hosted: RefCell<BTreeMap<TopicPartition, Arc<Partition>>>,
    /// What was seen of each at the last look.
    seen: RefCell<Vec<(Arc<Partition>, Option<Status>)>>,
    changed: RefCell<Vec<(TopicPartition, Status)>>,
    /// By leader.
    following: RefCell<BTreeMap<BrokerId, Arc<Following>>>,
    seed: u64,
    /// Counts the logs that were deleted.
    deleted: Cell<u8>,
    /// When the present request came.
    clock: Cell<Now>,
}

impl Roles {
    pub(super) fn new(
        me: BrokerId,
        dirs: LogDirs,
        around: Arc<Surroundings>,
        config: TopicConfig,
        seed: u64,
        now: Now,
    ) -> Roles {
        Roles {
            me,
            dirs,
            around,
            config: Arc::new(config),
            hosted: RefCell::default(),
            seen: RefCell::default(),
            changed: RefCell::default(),
            following: RefCell::default(),
            seed,
            deleted: Cell::new(0),
            clock: Cell::new(now),
        }
    }

    pub(in crate::sim) fn get(&self, id: &TopicPartition) -> Option<Arc<Partition>> {
        self.hosted.borrow().get(id).cloned()
    }

    pub(in crate::sim) fn all(&self) -> Vec<Arc<Partition>> {
        self.hosted.borrow().values().cloned().collect()
    }

    /// Looks at every partition; whether any came, went or changed its facts since the last look.
    pub(super) fn look(&self) -> bool {
        let (hosted, mut seen) = (self.hosted.borrow(), self.seen.borrow_mut());
        let is_same = hosted.len() == seen.len()
            && hosted.values().zip(seen.iter()).all(|(hosted, (seen, _))| Arc::ptr_eq(hosted, seen));
        if !is_same {
            let known = |partition: &Arc<Partition>| {
                seen.iter().find(|(seen, _)| Arc::ptr_eq(seen, partition)).and_then(|(_, status)| *status)
            };
            let now = hosted.values().map(|partition| (Arc::clone(partition), known(partition))).collect();
            *seen = now;
        }
        let mut changed = self.changed.borrow_mut();
        let before = changed.len();
        for (partition, status) in seen.iter_mut() {
            let now = partition.status();
            if *status != Some(now) {
                *status = Some(now);
                changed.push((partition.id().clone(), now));
            }
        }
        !is_same || changed.len() > before
    }

    /// The facts that were seen to change, in their order.
    pub(in crate::sim) fn take_changed(&self) -> Vec<(TopicPartition, Status)> {
        self.changed.take()
    }

    pub(super) fn leaders(&self) -> Vec<BrokerId> {
        self.following.borrow().keys().copied().collect()
    }

    pub(super) fn following(&self, leader: BrokerId) -> Option<Arc<Following>> {
        self.following.borrow().get(&leader).cloned()
    }

    pub(super) fn assign(
        &self,
        request: &LeaderAndIsrRequest,
        fence: &ControlFence,
        out: &mut Out<'_>,
    ) -> Codes {
        if let Err(code) = admit(fence, request.broker_epoch, request.controller_epoch) {
            return (code, Vec::new());
        }
        self.clock.set(out.clock);
        let orders = Order::all_of(request).into_iter();
        let codes = orders.map(|order| {
            let code = order.carry_out(self, out.clock);
            if code == ErrorCode::StaleControllerEpoch {
                out.counts.add("role told twice or late");
            }
            (order.id, code)
        });
        (ErrorCode::None, codes.collect())
    }

    pub(super) fn stop(
        &self,
        request: &StopReplicaRequest,
        fence: &ControlFence,
        out: &mut Out<'_>,
    ) -> Codes {
        if let Err(code) = admit(fence, request.broker_epoch, request.controller_epoch) {
            return (code, Vec::new());
        }
        let orders = StopOrder::all_of(request).into_iter();
        let codes = orders.map(|order| {
            let code = order.carry_out(self, out.clock);
            (order.id, code)
        });
        (ErrorCode::None, codes.collect())
    }

    /// How far the logs reach that a controller compares (`broker::api::list_offsets`).
    pub(super) fn log_ends(&self, request: &ListOffsetsRequest, now: Now) -> ListOffsetsResponse {
        let ask =
            ListOffset { asker: Asker::Comparer, current_leader_epoch: None, query: OffsetQuery::Latest };
        let end = |topic: &str, partition_index: i32| match self.find_offset(
            &TopicPartition::new(topic, partition_index),
            &ask,
            now,
        ) {
            Ok(found) => ListOffsetsPartitionResponse {
                partition_index,
                offset: found.offset.0,
                leader_epoch: found.leader_epoch.unwrap_or(LeaderEpoch::NONE).0,
                ..ListOffsetsPartitionResponse::default()
            },
            Err(error) => ListOffsetsPartitionResponse {
                partition_index,
                error_code: error.code(),
                ..ListOffsetsPartitionResponse::default()
            },
        };
        let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|asked| end(&topic.name, asked.partition_index))
                .collect(),
        });
        ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
    }

    /// An offset of a hosted partition (`broker::api::list_offsets`).
    pub(super) fn find_offset(
        &self,
        id: &TopicPartition,
        ask: &ListOffset,
        now: Now,
    ) -> Result<FoundOffset, ErrorCode> {
        let partition = self.get(id).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let found = partition.list_offset(ask, now).map_err(|error| error.code())?;
        found.ok_or(ErrorCode::UnknownServerError)
    }

    /// All that the reader may read of a hosted partition's log.
    pub(in crate::sim) fn log_of(&self, id: &TopicPartition, reader: Reader, now: Now) -> Option<Vec<u8>> {
        let partition = self.get(id)?;
        let mut log = Vec::new();
        let mut offset = partition.status().log_start;
        loop {
            let args = ReadArgs {
                reader,
                offset,
                current_leader_epoch: None,
                last_fetched_epoch: None,
                max_bytes: 1 << 20,
                at_least_one: true,
            };
            let bytes = memory(&partition.read(&args, now).ok()?.records);
            let Some(last) = batches(&bytes).last().map(|batch| batch.last_offset()) else {
                return Some(log);
            };
            log.extend_from_slice(&bytes);
            offset = last + 1;
        }
    }

    /// Loads the logs. `false`: the disk does not let it.
    pub(super) fn load(&self, now: Now) -> bool {
        let log = &self.config.log;
        self.dirs.load(&|_| log.clone(), self.seed, now.unix_ms).is_ok()
    }

    /// Notes the present boot of the machine. `false`: the disk does not let it.
    pub(super) fn note_boot(&self, boot: &str) -> bool {
        self.dirs.note_boot(boot).is_ok()
    }

    pub(super) fn checkpoint_watermarks(&self) {
        let marks: Vec<_> = self.all().iter().filter_map(|partition| partition.marks()).collect();
        self.dirs.checkpoint_high_watermarks(&marks);
    }

    pub(super) fn checkpoint_recovery_points(&self, now: Now) {
        let marks: Vec<_> = self.all().iter().filter_map(|partition| partition.marks()).collect();
        self.dirs.checkpoint_recovery_points(&marks);
        self.dirs.checkpoint_log_starts(&marks);
        self.dirs.tick(now.unix_ms);
    }

    pub(super) fn flush(&self, now: Now) {
        for partition in self.all() {
            // A failed directory shows in the partition's status.
            let _ = partition.flush(now);
        }
    }

    /// Leaves the logs as a cleanly stopped broker does.
    pub(super) fn close(&self, now: Now) {
        let logs = self.all().iter().filter_map(|partition| partition.take_log(now)).collect();
        self.dirs.close(logs);
    }
}

fn admit(fence: &ControlFence, broker: i64, controller: i32) -> Result<(), ErrorCode> {
    fence.admit(BrokerEpoch(broker), ControllerEpoch(controller), || ()).map_err(ErrorCode::from)
}

impl Host for Roles {
    fn me(&self) -> BrokerId {
        self.me
    }

    fn hosted(&self, id: &TopicPartition) -> Option<Arc<Partition>> {
        self.get(id)
    }

    fn host_found(&self, id: &TopicPartition) -> Option<Arc<Partition>> {
        let log = self.dirs.take(id)?;
        let partition = self.host(id);
        partition.attach(log, self.clock.get());
        Some(partition)
    }

    fn host(&self, id: &TopicPartition) -> Arc<Partition> {
        let new = || Arc::new(Partition::new(id.clone(), Arc::clone(&self.config), Arc::clone(&self.around)));
        Arc::clone(self.hosted.borrow_mut().entry(id.clone()).or_insert_with(new))
    }

    fn create_log(
        &self,
        partition: &Arc<Partition>,
        state: &LeaderAndIsr,
        now: Now,
    ) -> Result<(), PartitionError> {
        if partition.has_log() {
            return Ok(());
        }
        let topic_id = Some(state.topic_id).filter(|id| !id.is_zero());
        let config = self.config.log.clone();
        let log = self
            .dirs
            .create(partition.id(), config, topic_id, state.is_new, self.seed, now.unix_ms)
            .map_err(|_| PartitionError::Offline)?;
        partition.attach(log, now);
        Ok(())
    }

    fn follow(&self, partition: Arc<Partition>, leader: BrokerId, epoch: LeaderEpoch, naming: Naming) {
        let mut following = self.following.borrow_mut();
        for (source, followed) in following.iter() {
            if *source != leader {
                followed.remove(partition.id());
            }
        }
        following.entry(leader).or_default().add(partition, epoch, naming);
    }

    fn follow_by_name(&self, id: &TopicPartition) {
        for followed in self.following.borrow().values() {
            followed.name(id, Naming::ByName);
        }
    }

    fn stop_following(&self, id: &TopicPartition) {
        for followed in self.following.borrow().values() {
            followed.remove(id);
        }
    }

    fn forget(&self, id: &TopicPartition) {
        self.hosted.borrow_mut().remove(id);
    }

    fn take_found_log(&self, id: &TopicPartition) -> Option<Log> {
        self.dirs.take(id)
    }

    fn delete_log(&self, _: &TopicPartition, log: Log, now: Now) -> ErrorCode {
        self.deleted.set(self.deleted.get().wrapping_add(1));
        let unique = u128::from(self.seed) << 8 | u128::from(self.deleted.get());
        let unique = Uuid(unique.to_be_bytes());
        match self.dirs.delete(log, unique, now.unix_ms) {
            Ok(()) => ErrorCode::None,
            Err(_) => ErrorCode::KafkaStorageError,
        }
    }
}
