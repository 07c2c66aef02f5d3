//! Which topics a member of a classic group wants, and in how many streams. Pure.

use std::collections::BTreeMap;

use super::assignment::ThreadId;
use crate::topic_filter::{InvalidPattern, TopicFilter};
use crate::znode::consumer::{ConsumerRegistration, SubscriptionPattern};
use crate::znode::topic_name;

/// Which topics are wanted.
#[derive(Debug, Clone)]
pub enum Subscription {
    /// Streams for each of these topics.
    Topics(BTreeMap<String, usize>),
    /// Streams that all read all topics that the filter matches.
    WhiteList(TopicFilter, usize),
    /// Streams that all read all topics that the filter does not match.
    BlackList(TopicFilter, usize),
}

impl Subscription {
    /// Some topics by name, each with its number of streams.
    pub fn topics<T: Into<String>>(topics: impl IntoIterator<Item = (T, usize)>) -> Subscription {
        Subscription::Topics(topics.into_iter().map(|(topic, streams)| (topic.into(), streams)).collect())
    }

    /// What a member says of itself.
    pub(super) fn register(&self, timestamp_ms: i64) -> ConsumerRegistration {
        let number = |streams: usize| i32::try_from(streams).unwrap_or(i32::MAX);
        let (pattern, subscription) = match self {
            Subscription::Topics(topics) => {
                let topics = topics.iter().map(|(topic, streams)| (topic.clone(), number(*streams)));
                (SubscriptionPattern::Static, topics.collect())
            }
            Subscription::WhiteList(filter, streams) => {
                let only = BTreeMap::from([(filter.pattern().to_owned(), number(*streams))]);
                (SubscriptionPattern::WhiteList, only)
            }
            Subscription::BlackList(filter, streams) => {
                let only = BTreeMap::from([(filter.pattern().to_owned(), number(*streams))]);
                (SubscriptionPattern::BlackList, only)
            }
        };
        ConsumerRegistration { pattern, subscription, timestamp_ms }
    }

    /// What another member said of itself.
    pub(super) fn of(registration: &ConsumerRegistration) -> Result<Subscription, InvalidPattern> {
        let number = |streams: i32| usize::try_from(streams).unwrap_or(0);
        let subscription = &registration.subscription;
        let filter = || {
            let (pattern, streams) =
                subscription.first_key_value().map_or(("", 0), |(p, s)| (p.as_str(), *s));
            TopicFilter::new(pattern).map(|filter| (filter, number(streams)))
        };
        Ok(match registration.pattern {
            SubscriptionPattern::WhiteList if !subscription.is_empty() => {
                let (filter, streams) = filter()?;
                Subscription::WhiteList(filter, streams)
            }
            SubscriptionPattern::BlackList if !subscription.is_empty() => {
                let (filter, streams) = filter()?;
                Subscription::BlackList(filter, streams)
            }
            _ => Subscription::topics(
                subscription.iter().map(|(topic, streams)| (topic.as_str(), number(*streams))),
            ),
        })
    }

    /// Whether it takes the list of all topics to know which are meant.
    pub(super) fn is_wildcard(&self) -> bool {
        !matches!(self, Subscription::Topics(_))
    }

    /// The topics that are meant out of these, each with its threads.
    pub(super) fn threads<'a>(
        &self,
        consumer: &str,
        topics: impl Iterator<Item = &'a str>,
        exclude_internal: bool,
    ) -> BTreeMap<String, Vec<ThreadId>> {
        let threads = |streams: usize| (0..streams).map(|n| ThreadId::new(consumer, n)).collect::<Vec<_>>();
        let is_hidden = |topic: &str| exclude_internal && topic_name::is_internal(topic);
        match self {
            Subscription::Topics(wanted) => {
                wanted.iter().map(|(topic, streams)| (topic.clone(), threads(*streams))).collect()
            }
            Subscription::WhiteList(filter, streams) => topics
                .filter(|topic| filter.matches(topic) && !is_hidden(topic))
                .map(|topic| (topic.to_owned(), threads(*streams)))
                .collect(),
            Subscription::BlackList(filter, streams) => topics
                .filter(|topic| !filter.matches(topic) && !is_hidden(topic))
                .map(|topic| (topic.to_owned(), threads(*streams)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(subscription: &Subscription) -> Subscription {
        let written = subscription.register(5).encode();
        Subscription::of(&ConsumerRegistration::decode(&written).unwrap()).unwrap()
    }

    fn meant(subscription: &Subscription, exclude_internal: bool) -> Vec<String> {
        let topics = ["a", "ab", "b", "__consumer_offsets"];
        let threads = subscription.threads("c", topics.into_iter(), exclude_internal);
        threads.into_keys().collect()
    }

    #[test]
    fn lists_choose_among_the_topics_there_are() {
        let filter = |pattern| TopicFilter::new(pattern).unwrap();
        let white = round_trip(&Subscription::WhiteList(filter("a.*, __.*"), 2));
        assert_eq!(meant(&white, true), ["a", "ab"]);
        assert_eq!(meant(&white, false), ["__consumer_offsets", "a", "ab"]);
        let black = round_trip(&Subscription::BlackList(filter("a.*"), 1));
        assert_eq!(meant(&black, true), ["b"]);
        let named = round_trip(&Subscription::topics([("ab", 2), ("not there", 1)]));
        let threads = named.threads("c", std::iter::empty(), true);
        assert_eq!(threads["ab"], [ThreadId::new("c", 0), ThreadId::new("c", 1)]);
        assert_eq!(threads.len(), 2);
    }

    #[test]
    fn members_write_what_kafka_does() {
        let text = |s: &Subscription| String::from_utf8(s.register(7).encode()).unwrap();
        let filter = TopicFilter::new("c2,zz.*").unwrap();
        assert_eq!(
            text(&Subscription::WhiteList(filter, 1)),
            r#"{"version":1,"subscription":{"c2|zz.*":1},"pattern":"white_list","timestamp":"7"}"#
        );
    }
}
