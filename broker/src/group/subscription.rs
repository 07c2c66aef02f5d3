//! Which topics a group of consumers reads, by what its members say to their leader.

use std::collections::BTreeSet;

use bytes::Bytes;
use client::wire::messages::ConsumerProtocolSubscription;
use client::wire::{DecodeError, Message, Reader, Str};

use super::Group;

/// The newest version of a subscription that is known. A newer one begins as this one does.
const VERSION_MAX: i16 = 3;

impl Group {
    /// Takes note of the topics of the generation that begins. They stay unknown if a member says
    /// something else than a consumer does, or if the group is none of consumers.
    pub(super) fn learn_subscription(&mut self) {
        self.subscribed = match &self.protocol {
            _ if !self.is_consumers() => None,
            None => Some(BTreeSet::new()),
            Some(protocol) => {
                let topics = self.members.iter().map(|member| topics(member.metadata(protocol)));
                topics.collect::<Result<Vec<_>, _>>().ok().map(|topics| topics.concat().into_iter().collect())
            }
        };
    }
}

fn topics(metadata: Bytes) -> Result<Vec<Str>, DecodeError> {
    let mut reader = Reader::new(metadata);
    let version = reader.i16()?.min(VERSION_MAX);
    Ok(ConsumerProtocolSubscription::decode(&mut reader, version)?.topics)
}
