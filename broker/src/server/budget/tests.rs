//! In simulated time.

use futures::FutureExt;
use futures::future::join_all;

use super::*;
use crate::server::pace::{PACE, PATIENCE};

const BUDGET: usize = 16 << 20;
const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_frame_holds_its_bytes_until_its_last_slice_is_gone() {
    let budget = Budget::new(10);
    let [mut held, mut over, mut next] = [Held::default(), Held::default(), Held::default()];
    budget.take(&mut held, 4, 10).await;
    budget.take(&mut held, 6, 6).await;
    budget.take(&mut over, 20, 20).await;
    let frame = held.into_frame(vec![0; 10]);
    let slice = frame.slice(2..3);
    drop(frame);
    let waits = budget.take(&mut next, 10, 10);
    tokio::pin!(waits);
    assert!((&mut waits).now_or_never().is_none());
    drop(slice);
    waits.now_or_never().expect("there is room");
}

#[tokio::test]
async fn who_gave_up_waiting_leaves_nothing_behind() {
    let budget = Budget::new(10);
    let [mut all, mut over, mut gone, mut next] =
        [Held::default(), Held::default(), Held::default(), Held::default()];
    budget.take(&mut all, 10, 10).await;
    budget.take(&mut over, 5, 5).await;
    assert!(budget.take(&mut gone, 8, 8).now_or_never().is_none());
    drop(gone);
    drop(all);
    budget.take(&mut next, 5, 5).now_or_never().expect("5 for who passed the budget, and as many");
}

#[tokio::test(start_paused = true)]
async fn who_sends_slowly_makes_room_when_others_wait() {
    let budget = Budget::new(10);
    let [mut slow, mut passing, mut next] = [Held::default(), Held::default(), Held::default()];
    budget.take(&mut slow, 10, 10).await;
    budget.take(&mut passing, 5, 5).await;
    sleep(PATIENCE * 10).await;
    assert!(slow.given_up().now_or_never().is_none(), "nobody waits");

    // As its connection does: it ends, and its memory is free.
    let gone = async {
        passing.given_up().await;
        drop(passing);
    };
    let started = Instant::now();
    tokio::join!(gone, budget.take(&mut next, 5, 5));
    assert_eq!(started.elapsed(), LOOK_INTERVAL);
    assert!(slow.given_up().now_or_never().is_none(), "one was enough");
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_go_and_has_bytes_at_hand_stays() {
    let budget = Budget::new(10);
    let [mut all, mut late, mut next] = [Held::default(), Held::default(), Held::default()];
    budget.take(&mut all, 10, 10).await;
    budget.take(&mut late, 10, 10).await;
    sleep(PATIENCE).await;
    let waits = budget.take(&mut next, 20, 20);
    tokio::pin!(waits);
    assert!(tokio::time::timeout(LOOK_INTERVAL * 2, &mut waits).await.is_err());
    late.received(PACE as usize * 10);
    assert!(late.given_up().now_or_never().is_none());
    assert!(tokio::time::timeout(PATIENCE, &mut waits).await.is_err());
    late.given_up().now_or_never().expect("it sent nothing more");
}

/// Someone who asks for the rest of a frame, and is silent once there is room for it.
async fn silent(budget: Budget, lacks: usize) {
    let mut held = Held::default();
    budget.take(&mut held, lacks, lacks).await;
    held.given_up().await;
}

/// Someone who sends one frame after the other at once, or gives up soon.
async fn hasty(budget: Budget, lacks: usize, begins_after: Duration) {
    sleep(begins_after).await;
    loop {
        let mut held = Held::default();
        let asked = budget.take(&mut held, lacks, lacks);
        if tokio::time::timeout(Duration::from_millis(20), asked).await.is_ok() {
            tokio::task::yield_now().await;
        }
        drop(held);
        sleep(Duration::from_millis(10)).await;
    }
}

/// How long someone waits who asks for the rest of a frame and then sends it at 1 MB/s.
async fn honest(budget: &Budget, lacks: usize) -> Duration {
    let mut held = Held::default();
    let asked = Instant::now();
    budget.take(&mut held, lacks, lacks).await;
    let waited = asked.elapsed();
    let sent = async {
        for _ in 0..lacks.div_ceil(50_000) {
            sleep(Duration::from_millis(50)).await;
            held.received(50_000);
        }
    };
    tokio::select! {
        () = sent => {}
        () = held.given_up() => panic!("it sent quickly"),
    }
    drop(held.into_frame(Vec::new()));
    waited
}

#[tokio::test(start_paused = true)]
async fn behind_thousands_who_went_silent_nobody_who_sends_waits_for_long() {
    for (silent_frames, lacks) in [(18, MIB), (30, MIB), (500, MIB), (2000, MIB), (500, BUDGET)] {
        for honest_lacks in [100 << 10, MIB] {
            let budget = Budget::new(BUDGET);
            let crowd: Vec<_> =
                (0..silent_frames).map(|_| tokio::spawn(silent(budget.clone(), lacks))).collect();
            tokio::task::yield_now().await;
            let mut worst = Duration::ZERO;
            for _ in 0..8 {
                worst = worst.max(honest(&budget, honest_lacks).await);
            }
            assert!(
                worst < Duration::from_millis(2_500),
                "{worst:?} behind {silent_frames} of {lacks}, for {honest_lacks}"
            );
            crowd.iter().for_each(tokio::task::JoinHandle::abort);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_crowd_of_both_kinds_nobody_who_sends_waits_for_long() {
    let budget = Budget::new(BUDGET);
    let mut crowd: Vec<_> = (0..500).map(|_| tokio::spawn(silent(budget.clone(), MIB))).collect();
    crowd.extend(
        (0..64).map(|n| tokio::spawn(hasty(budget.clone(), 50 << 10, Duration::from_micros(n * 470)))),
    );
    sleep(Duration::from_millis(30)).await;
    tokio::task::yield_now().await;
    for _ in 0..8 {
        let waited = honest(&budget, 100 << 10).await;
        assert!(waited < Duration::from_millis(2_500), "{waited:?}");
    }
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn five_hundred_who_went_silent_take_their_turns_in_seconds() {
    let budget = Budget::new(BUDGET);
    let turns = (0..500).map(async |_| {
        let mut held = Held::default();
        budget.take(&mut held, MIB, MIB).await;
        tokio::spawn(async move { held.given_up().await });
    });
    let started = Instant::now();
    join_all(turns).await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(25), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_poor_line_gets_its_frame_through_while_a_few_wait() {
    let budget = Budget::new(BUDGET);
    let mut poor = Held::default();
    budget.take(&mut poor, MIB, MIB).await;
    let _crowd: Vec<_> = (0..40).map(|_| tokio::spawn(silent(budget.clone(), MIB))).collect();
    for _ in 0..MIB / PACE as usize * 2 {
        sleep(Duration::from_millis(500)).await;
        assert!(poor.given_up().now_or_never().is_none(), "64 KiB/s");
        poor.received(PACE as usize / 2);
    }
}
