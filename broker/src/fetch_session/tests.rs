use std::time::Duration;

use super::*;

fn name(topic: &str, partition: i32) -> PartitionRef {
    PartitionRef { topic: TopicRef::Name(topic.into()), partition }
}

fn ask(offset: i64) -> Ask {
    Ask {
        fetch_offset: Offset(offset),
        max_bytes: 1024,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
    }
}

/// An answer without news in itself.
fn quiet(high_watermark: i64) -> Answer {
    Answer { high_watermark, log_start_offset: 0, has_records: false, is_error: false, redirects: false }
}

fn records(high_watermark: i64) -> Answer {
    Answer { has_records: true, ..quiet(high_watermark) }
}

fn error() -> Answer {
    Answer { is_error: true, log_start_offset: -1, ..quiet(-1) }
}

fn request(id: i32, epoch: i32, partitions: &[(&str, i64)], forgotten: &[&str]) -> SessionRequest {
    SessionRequest {
        id,
        epoch,
        by_topic_id: false,
        from_follower: false,
        partitions: partitions.iter().map(|(topic, offset)| (name(topic, 0), ask(*offset))).collect(),
        forgotten: forgotten.iter().map(|topic| name(topic, 0)).collect(),
    }
}

/// The session id, the partitions read and the topics sent.
type Outcome = Result<(i32, String, String), SessionError>;

/// One request and its answers: the partitions to read as `topic@offset`, and after the answers
/// (in that order) the session id and the topics sent.
fn exchange(sessions: &FetchSessions, request: SessionRequest, now: Instant, answers: &[Answer]) -> Outcome {
    let scope = sessions.open(request, now)?;
    let topic = |partition: &PartitionRef| match &partition.topic {
        TopicRef::Name(name) => name.to_string(),
        TopicRef::Id(id) => id.to_string(),
    };
    let read: Vec<String> = scope
        .partitions
        .iter()
        .map(|(partition, ask)| format!("{}@{}", topic(partition), ask.fetch_offset))
        .collect();
    assert_eq!(answers.len(), scope.partitions.len(), "reads {read:?}");
    let answers: Vec<(usize, Answer)> = answers.iter().copied().enumerate().collect();
    let Conclusion { session_id, included } = sessions.conclude(&scope, &answers, now, 41)?;
    let sent = scope.partitions.iter().zip(&included).filter(|(_, included)| **included);
    let sent: Vec<String> = sent.map(|((partition, _), _)| topic(partition)).collect();
    Ok((session_id, read.join(" "), sent.join(" ")))
}

fn at(
    sessions: &FetchSessions,
    request: SessionRequest,
    answers: &[Answer],
) -> Result<(i32, String, String), SessionError> {
    exchange(sessions, request, Instant::now(), answers)
}

fn said(id: i32, read: &str, sent: &str) -> Outcome {
    Ok((id, read.to_owned(), sent.to_owned()))
}

#[test]
fn a_session_answers_only_what_is_new() {
    let sessions = FetchSessions::new(80);
    let id = 41;
    let table: Vec<(&str, SessionRequest, Vec<Answer>, Outcome)> = vec![
        (
            "a full fetch is answered in full, quiet or not",
            request(0, 0, &[("a", 0), ("b", 5), ("c", 9)], &[]),
            vec![quiet(1), quiet(5), error()],
            said(id, "a@0 b@5 c@9", "a b c"),
        ),
        (
            "nothing new, except that errors are repeated",
            request(id, 1, &[], &[]),
            vec![quiet(1), quiet(5), error()],
            said(id, "a@0 b@5 c@9", "c"),
        ),
        (
            "a high watermark moved, an error went away",
            request(id, 2, &[], &[]),
            vec![quiet(2), quiet(5), quiet(9)],
            said(id, "a@0 b@5 c@9", "a c"),
        ),
        (
            "a log start moved, another sends the fetcher elsewhere",
            request(id, 3, &[], &[]),
            vec![
                quiet(2),
                Answer { log_start_offset: 3, ..quiet(5) },
                Answer { redirects: true, ..quiet(9) },
            ],
            said(id, "a@0 b@5 c@9", "b c"),
        ),
        (
            "records are sent although no watermark moved",
            request(id, 4, &[], &[]),
            vec![records(2), Answer { log_start_offset: 3, ..quiet(5) }, quiet(9)],
            said(id, "a@0 b@5 c@9", "a"),
        ),
        (
            "what had records is read last now; offsets move when listed",
            request(id, 5, &[("a", 2)], &[]),
            vec![Answer { log_start_offset: 3, ..quiet(5) }, quiet(9), quiet(2)],
            said(id, "b@5 c@9 a@2", ""),
        ),
        (
            "one is added and one forgotten; the new one is answered",
            request(id, 6, &[("d", 0)], &["c", "never listed"]),
            vec![Answer { log_start_offset: 3, ..quiet(5) }, quiet(2), quiet(0)],
            said(id, "b@5 a@2 d@0", "d"),
        ),
        (
            "the epoch must be the next",
            request(id, 8, &[], &[]),
            vec![],
            Err(SessionError::Epoch { id, expected: 7, got: 8 }),
        ),
        (
            "a negative epoch is no epoch",
            request(id, -2, &[], &[]),
            vec![],
            Err(SessionError::Epoch { id, expected: 7, got: -2 }),
        ),
        ("an unknown id", request(99, 7, &[], &[]), vec![], Err(SessionError::NotFound { id: 99 })),
        ("no id", request(0, 7, &[], &[]), vec![], Err(SessionError::NotFound { id: 0 })),
        (
            "an id no shard has",
            request(i32::MAX, 7, &[], &[]),
            vec![],
            Err(SessionError::NotFound { id: i32::MAX }),
        ),
        ("a negative id", request(-5, 7, &[], &[]), vec![], Err(SessionError::NotFound { id: -5 })),
        (
            "topic ids in a session of names",
            SessionRequest { by_topic_id: true, ..request(id, 7, &[], &[]) },
            vec![],
            Err(SessionError::TopicIds { id }),
        ),
        ("refusals changed nothing", request(id, 7, &[], &["a", "b", "d"]), vec![], said(0, "", "")),
        (
            "a session without partitions is gone",
            request(id, 8, &[], &[]),
            vec![],
            Err(SessionError::NotFound { id }),
        ),
    ];
    for (what, request, answers, expected) in table {
        assert_eq!(at(&sessions, request, &answers), expected, "{what}");
    }
}

#[test]
fn epoch_minus_one_and_full_fetches_close_the_session_named() {
    let sessions = FetchSessions::new(80);
    let (first, ..) = at(&sessions, request(0, 0, &[("a", 0)], &[]), &[quiet(0)]).expect("a session");
    let (second, ..) =
        at(&sessions, request(first, 0, &[], &[]), &[]).expect("an empty session in its place");
    assert_ne!((first, second), (0, 0));
    assert_eq!(at(&sessions, request(first, 1, &[], &[]), &[]), Err(SessionError::NotFound { id: first }));
    assert_eq!(sessions.len(), 1);
    assert_eq!(at(&sessions, request(second, -1, &[("a", 3)], &[]), &[quiet(7)]), said(0, "a@3", "a"));
    assert!(sessions.is_empty());
}

#[test]
fn a_partition_listed_twice_is_read_once_with_its_last_values() {
    let sessions = FetchSessions::new(0);
    let listed = request(0, 0, &[("a", 1), ("b", 2), ("a", 3)], &[]);
    assert_eq!(at(&sessions, listed, &[quiet(0), quiet(0)]), said(0, "a@3 b@2", "a b"));
}

#[test]
fn the_epoch_after_the_greatest_is_1() {
    let sessions = FetchSessions::new(80);
    let (id, ..) = at(&sessions, request(0, 0, &[("a", 0)], &[]), &[quiet(0)]).expect("a session");
    let cell = sessions.shard(id).and_then(|shard| shard.find(id)).expect("cached");
    lock(&cell).set_epoch(i32::MAX);
    assert_eq!(at(&sessions, request(id, i32::MAX, &[], &[]), &[quiet(0)]), said(id, "a@0", ""));
    assert_eq!(at(&sessions, request(id, 1, &[], &[]), &[quiet(0)]), said(id, "a@0", ""));
}

#[test]
fn of_two_answers_for_one_epoch_the_overtaken_is_refused() {
    let sessions = FetchSessions::new(80);
    let now = Instant::now();
    let (id, ..) = at(&sessions, request(0, 0, &[("a", 0)], &[]), &[quiet(0)]).expect("a session");
    let parked = sessions.open(request(id, 1, &[], &[]), now).expect("epoch 1");
    at(&sessions, request(id, 2, &[], &[]), &[quiet(0)]).expect("epoch 2");
    assert_eq!(
        sessions.conclude(&parked, &[(0, quiet(0))], now, 0),
        Err(SessionError::Epoch { id, expected: 3, got: 2 })
    );
}

/// Fills a cache of one slot a shard at `start`, from consumers or followers, `size` partitions each.
fn filled(size: usize, from_follower: bool, start: Instant) -> (FetchSessions, Vec<i32>) {
    let sessions = FetchSessions::new(SHARDS);
    let ids = (0..SHARDS).map(|_| create(&sessions, size, from_follower, start)).collect();
    (sessions, ids)
}

fn create(sessions: &FetchSessions, size: usize, from_follower: bool, now: Instant) -> i32 {
    let partitions = (0..size as i32).map(|n| (name("t", n), ask(0))).collect();
    let full = SessionRequest {
        id: 0,
        epoch: 0,
        by_topic_id: false,
        from_follower,
        partitions,
        forgotten: Vec::new(),
    };
    let (id, ..) = exchange(sessions, full, now, &vec![quiet(0); size]).expect("a full fetch");
    id
}

fn use_all(sessions: &FetchSessions, ids: &[i32], size: usize, now: Instant) {
    for id in ids {
        exchange(sessions, request(*id, 1, &[], &[]), now, &vec![quiet(0); size])
            .expect("an incremental fetch");
    }
}

#[test]
fn sessions_are_spread_over_the_shards_and_ids_belong_to_them() {
    let (sessions, ids) = filled(1, false, Instant::now());
    let shards: Vec<i32> = ids.iter().map(|id| id / IDS_PER_SHARD).collect();
    assert_eq!(shards, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(sessions.len(), SHARDS);
}

#[test]
fn a_full_cache_gives_way_by_age_kind_and_size() {
    let start = Instant::now();
    let seconds = |n: u64| start + Duration::from_secs(n);
    // (sessions are followers', their size, used at, new one's: is follower's, size, at; is made)
    let table = [
        ("young consumers stay for a larger consumer", (false, 2, 60), (false, 9, 100), false),
        ("a young consumer's goes for a follower, whatever the sizes", (false, 9, 60), (true, 1, 100), true),
        ("young followers stay for a larger follower", (true, 2, 60), (true, 9, 100), false),
        ("an idle one goes for any", (true, 9, 60), (false, 1, 181), true),
        ("120 s are not yet idle", (true, 9, 60), (false, 1, 180), false),
        ("an old one in use stays for one of its size", (false, 2, 130), (false, 2, 140), false),
        ("an old one in use goes for a larger one", (false, 2, 130), (false, 3, 140), true),
        ("an old follower's in use stays for a large consumer", (true, 2, 130), (false, 9, 140), false),
        ("an old follower's in use goes for a larger follower's", (true, 2, 130), (true, 3, 140), true),
    ];
    for (what, (old_follower, old_size, used), (new_follower, new_size, now), made) in table {
        let (sessions, ids) = filled(old_size, old_follower, start);
        use_all(&sessions, &ids, old_size, seconds(used));
        let id = create(&sessions, new_size, new_follower, seconds(now));
        assert_eq!((id != 0, sessions.len()), (made, SHARDS), "{what}");
    }
}

#[test]
fn fewer_slots_than_shards_mean_no_sessions() {
    let sessions = FetchSessions::new(7);
    assert_eq!(create(&sessions, 1, true, Instant::now()), 0);
}
