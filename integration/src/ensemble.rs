//! Three ZooKeeper servers, one of which can be made to lag behind the others.

use crate::ports::free_port;
use crate::proxy::{Proxy, Weather};
use crate::zookeeper::ZooKeeper;

const TICK_MS: u32 = 1_000;

/// Ticks that a follower goes without hearing from its leader before it stops to serve.
const SYNC_LIMIT: u32 = 20;

/// A leader, a follower that keeps up, and one whose link to the leader goes through a proxy. Everything ends
/// with it.
#[derive(Debug)]
pub struct Ensemble {
    laggard: ZooKeeper,
    _follower: ZooKeeper,
    leader: ZooKeeper,
    link: Proxy,
}

impl Ensemble {
    /// Returns when all three serve. Must be called within a runtime of several threads.
    pub async fn start() -> Ensemble {
        let places = [1, 2, 3].map(|id| Place { id, quorum: free_port(), election: free_port() });
        let [_, _, third] = &places;
        let link = Proxy::start(&format!("127.0.0.1:{}", third.quorum)).await;
        let by_proxy = Place { quorum: link.port(), ..*third };
        tokio::task::block_in_place(|| {
            // Two of three are enough; of equals the greater id leads.
            let mut leader = third.launch(&places);
            let mut follower = places[1].launch(&places);
            let said = leader.wait_until_serving();
            assert!(said.contains("Mode: leader"), "{said}");
            follower.wait_until_serving();
            let mut laggard = places[0].launch(&[places[0], places[1], by_proxy]);
            let said = laggard.wait_until_serving();
            assert!(said.contains("Mode: follower"), "{said}");
            Ensemble { laggard, _follower: follower, leader, link }
        })
    }

    /// `host:port` of the leader.
    pub fn leader(&self) -> String {
        self.leader.connect_string()
    }

    /// `host:port` of the server that can be held back.
    pub fn laggard(&self) -> String {
        self.laggard.connect_string()
    }

    /// From now on the laggard hears nothing of what the others do, and answers from what it knows; what it is
    /// asked to write reaches the leader, and is not answered. Twenty seconds at most, then it gives up.
    pub fn hold_back(&self) {
        self.link.set(Weather::AnswersLate);
    }

    /// The laggard hears all that it missed.
    pub fn let_go(&self) {
        self.link.set(Weather::Fair);
    }
}

/// Where a server is found by the others.
#[derive(Debug, Clone, Copy)]
struct Place {
    id: usize,
    quorum: u16,
    election: u16,
}

impl Place {
    /// `places`: of all three, as this one knows them.
    fn launch(&self, places: &[Place; 3]) -> ZooKeeper {
        let mut settings = format!("initLimit={SYNC_LIMIT}\nsyncLimit={SYNC_LIMIT}\n");
        for Place { id, quorum, election } in places {
            settings.push_str(&format!("server.{id}=127.0.0.1:{quorum}:{election}\n"));
        }
        ZooKeeper::launch_member(self.id, TICK_MS, &settings)
    }
}
