//! Why a known key is not accepted with any value but its default. Pure.

/// A promise that is not kept yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Completes "refused because ...".
    pub why: &'static str,
}

pub(super) static TLS: Refusal =
    Refusal { why: "TLS is not implemented, so connections would not be protected as this asks" };
pub(super) static SASL: Refusal =
    Refusal { why: "SASL is not implemented, so clients would not be authenticated as this asks" };
pub(super) static PLAINTEXT_ONLY: Refusal = Refusal {
    why: "only PLAINTEXT is implemented, so traffic between brokers would not be protected as this asks",
};
pub(super) static AUTHORIZATION: Refusal =
    Refusal { why: "authorization is not implemented, so every client would be allowed everything" };
pub(super) static TOKENS: Refusal = Refusal { why: "delegation tokens are not implemented" };
pub(super) static ZOOKEEPER_TLS: Refusal = Refusal {
    why: "TLS to ZooKeeper is not implemented, so that connection would not be protected as this asks",
};
pub(super) static ZOOKEEPER_ACLS: Refusal =
    Refusal { why: "znodes are created without access control, so anybody could still write them" };
pub(super) static PROTOCOL_VERSION: Refusal = Refusal {
    why: "this broker speaks inter-broker protocol 3.9 only and could not understand older brokers",
};
pub(super) static KRAFT: Refusal = Refusal { why: "this broker runs on ZooKeeper only" };
pub(super) static CONTROL_PLANE: Refusal =
    Refusal { why: "a listener of its own for the controller's requests is not implemented" };
pub(super) static JAVA_CLASS: Refusal =
    Refusal { why: "Java classes cannot be loaded, so what this class decides would not be obeyed" };
pub(super) static CONNECTION_RATE: Refusal =
    Refusal { why: "the rate of new connections is not limited, so this bound would not hold" };
pub(super) static CLASSIC_GROUPS: Refusal =
    Refusal { why: "only the classic group protocol exists on a cluster with ZooKeeper" };
pub(super) static TIERED_STORAGE: Refusal =
    Refusal { why: "tiered storage is not implemented, so no segment would be copied away" };
pub(super) static LISTENER_SCOPE: Refusal =
    Refusal { why: "settings for a single listener are not implemented, so this would have no effect" };
