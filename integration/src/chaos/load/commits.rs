//! Somebody who asks again and again how far the groups have come.

use std::time::Duration;

use client::admin::{Admin, AdminOptions};
use client::cluster::Bootstrap;
use client::ids::TopicPartition;

use super::{GROUPS, PARTITIONS, Part, TOPIC};
use crate::checker::Event;
use crate::runtime::own_thread;

const ASK_EVERY: Duration = Duration::from_millis(300);

pub(super) fn run(part: &Part) {
    own_thread().block_on(async {
        let options = AdminOptions {
            request_timeout: Duration::from_secs(3),
            api_timeout: Duration::from_secs(10),
            ..AdminOptions::default()
        };
        let bootstrap = Bootstrap::resolve(&part.bootstrap).await.expect("these are addresses");
        let admin = Admin::new(bootstrap, options);
        while !part.is_over() {
            for group in GROUPS {
                ask(part, &admin, group).await;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    });
}

async fn ask(part: &Part, admin: &Admin, group: &str) {
    let group = String::from(group);
    let asked_us = part.recorder.now_us();
    match admin.group_offsets(std::slice::from_ref(&group)).await {
        Ok(mut answers) => match answers.remove(&group) {
            Some(Ok(offsets)) => {
                for partition in 0..PARTITIONS {
                    let offset = offsets.get(&TopicPartition::new(TOPIC, partition));
                    let offset = offset.map_or(-1, |kept| kept.offset.0);
                    let group = group.clone();
                    part.recorder.record(&Event::CommitRead { group, asked_us, partition, offset });
                }
            }
            Some(Err(error)) => part.counts.complain("asking for offsets", &error),
            None => part.counts.complain("asking for offsets", &"no answer for the group"),
        },
        Err(error) => part.counts.complain("asking for offsets", &error),
    }
}
