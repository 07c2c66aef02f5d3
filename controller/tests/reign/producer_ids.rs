//! Blocks of producer ids, through lost answers, other writers and other controllers.

use std::sync::{Arc, Mutex};

use client::ids::BrokerId;
use client::wire::ErrorCode;
use client::wire::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use client::znode::producer_ids::{PATH, ProducerIdBlock};
use controller::world::Trouble;
use futures::executor::block_on;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use crate::memory::{Memory, Mishap, Reign};

fn ask(reign: &mut Reign, broker: i32) -> Result<AllocateProducerIdsResponse, Trouble> {
    let broker_epoch = reign.memory.epoch_of(broker).0;
    let request = AllocateProducerIdsRequest { broker_id: broker, broker_epoch };
    block_on(reign.term.allocate_producer_ids(&request))
}

fn cluster() -> Memory {
    let memory = Memory::with_brokers(3);
    memory.put(PATH, "");
    memory
}

fn block(broker: i32, start: i64) -> ProducerIdBlock {
    ProducerIdBlock { broker: BrokerId(broker), start, end: start + 999 }
}

#[test]
fn brokers_get_block_after_block() {
    let memory = cluster();
    let mut reign = Reign::begin(&memory, 1);
    for (broker, start) in [(2, 0), (2, 1000), (1, 2000)] {
        let response = ask(&mut reign, broker).expect("no trouble");
        assert_eq!((response.error_code, response.producer_id_start), (0, start));
        assert_eq!(response.producer_id_len, 1000);
        let written = String::from_utf8(block(broker, start).encode()).expect("text");
        assert_eq!(memory.data(PATH), Some(written));
    }
}

#[test]
fn whoever_may_not_have_one_hears_why() {
    let memory = cluster();
    let mut reign = Reign::begin(&memory, 1);
    let refusal = |reign: &mut Reign, broker_id, broker_epoch| {
        let request = AllocateProducerIdsRequest { broker_id, broker_epoch };
        let response = block_on(reign.term.allocate_producer_ids(&request)).expect("no trouble");
        assert_eq!((response.producer_id_start, response.producer_id_len), (0, 0));
        ErrorCode::from_code(response.error_code)
    };
    let known = memory.epoch_of(1).0;
    assert_eq!(refusal(&mut reign, 4, known), ErrorCode::BrokerIdNotRegistered);
    for epoch in [known - 1, known + 1, -1] {
        assert_eq!(refusal(&mut reign, 1, epoch), ErrorCode::StaleBrokerEpoch);
    }
    let last = ProducerIdBlock { broker: BrokerId(1), start: i64::MAX - 1998, end: i64::MAX - 999 };
    for unusable in [&b"{}"[..], &last.encode()] {
        memory.put(PATH, unusable);
        assert_eq!(refusal(&mut reign, 1, known), ErrorCode::UnknownServerError);
    }
    memory.remove(PATH);
    assert_eq!(refusal(&mut reign, 1, known), ErrorCode::UnknownServerError);
    assert_eq!(memory.data(PATH), None, "counting anew would give out ids that are in use");

    memory.fence();
    memory.put(PATH, "");
    assert_eq!(ask(&mut reign, 1), Err(Trouble::Fenced));
}

/// What happens while a controller writes a block.
#[derive(Debug, Clone)]
enum Fate {
    Smooth,
    /// A broker of inter-broker protocol 2.8, which takes blocks itself, comes in between.
    Overtaken {
        times: usize,
    },
    SessionOver {
        written: bool,
    },
}

#[derive(Debug, Clone)]
enum Step {
    /// A broker asks the controller of one of the last elections, which may be deposed already.
    Ask {
        broker: i32,
        reigns_ago: usize,
        fate: Fate,
    },
    Elect,
    TakenByBroker,
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        3 => Just(Fate::Smooth),
        1 => (1..4usize).prop_map(|times| Fate::Overtaken { times }),
        1 => any::<bool>().prop_map(|written| Fate::SessionOver { written }),
    ];
    let ask = (1..=3, prop_oneof![4 => Just(0usize), 1 => 1..3usize], fate);
    prop_oneof![
        6 => ask.prop_map(|(broker, reigns_ago, fate)| Step::Ask { broker, reigns_ago, fate }),
        1 => Just(Step::Elect),
        1 => Just(Step::TakenByBroker),
    ]
}

/// Who holds which ids, from and to before.
#[derive(Debug, Clone, Default)]
struct Given(Arc<Mutex<Vec<(i64, i64)>>>);

impl Given {
    fn note(&self, start: i64, len: i32) {
        self.0.lock().expect("no panic").push((start, start + i64::from(len)));
    }

    /// What an old broker writes over what is there.
    fn taken_over(&self, present: &[u8]) -> Vec<u8> {
        let last = ProducerIdBlock::decode(present).expect("what was written can be read");
        let taken = block(3, last.map_or(0, |last| last.end + 1));
        self.note(taken.start, 1000);
        taken.encode()
    }
}

proptest! {
    #[test]
    fn no_id_is_given_out_twice(steps in vec(step(), 1..40)) {
        let (memory, given) = (cluster(), Given::default());
        let mut reigns = vec![Reign::begin(&memory, 1)];
        let elect = |reigns: &mut Vec<Reign>| {
            let epoch = i32::try_from(reigns.len()).expect("few") + 1;
            reigns.push(Reign::begin(&memory, epoch));
        };
        for step in steps {
            match step {
                Step::Elect => elect(&mut reigns),
                Step::TakenByBroker => {
                    let present = memory.data(PATH).expect("the node stays");
                    memory.put(PATH, given.taken_over(present.as_bytes()));
                }
                Step::Ask { broker, reigns_ago, .. } if (1..reigns.len()).contains(&reigns_ago) => {
                    let deposed = reigns.len() - 1 - reigns_ago;
                    assert_eq!(ask(&mut reigns[deposed], broker), Err(Trouble::Fenced));
                }
                Step::Ask { broker, fate, .. } => {
                    match fate {
                        Fate::Smooth => {}
                        Fate::Overtaken { times } => (0..times).for_each(|_| {
                            let given = given.clone();
                            let by = Box::new(move |present: &[u8]| given.taken_over(present));
                            memory.mishap(Mishap::Overtaken { path: PATH, by });
                        }),
                        Fate::SessionOver { written } => memory.mishap(Mishap::SessionOver { written }),
                    }
                    match ask(reigns.last_mut().expect("there is one"), broker) {
                        Ok(answer) => {
                            assert_eq!(answer.error_code, 0);
                            given.note(answer.producer_id_start, answer.producer_id_len);
                        }
                        Err(trouble) => {
                            assert_eq!(trouble, Trouble::SessionOver);
                            elect(&mut reigns);
                        }
                    }
                }
            }
        }
        let mut given = given.0.lock().expect("no panic").clone();
        given.sort_unstable();
        for pair in given.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "{given:?}");
        }
    }
}
