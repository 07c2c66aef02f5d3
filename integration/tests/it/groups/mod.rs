//! Consumer groups: our coordinator beside Apache's, and under stock clients.

mod answers;
mod attacks;
mod crowd;
mod expiry;
mod members;
mod mixed;
mod party;
mod records;
mod view;

use client::connection::{Connection, ConnectionOptions};
use client::wire::Request;
use integration::runtime::own_thread;

async fn connect(address: &str) -> Connection {
    Connection::connect(address, "tests", ConnectionOptions::default()).await.expect("the broker listens")
}

async fn ask<R: Request>(connection: &Connection, version: i16, body: &R) -> R::Response {
    connection.send(body, version).await.expect("the broker answers")
}

/// One question on a connection of its own. `None` if the broker does not answer.
fn ask_once<R: Request>(address: &str, version: i16, body: &R) -> Option<R::Response> {
    own_thread().block_on(async {
        let connection = Connection::connect(address, "tests", ConnectionOptions::default()).await.ok()?;
        connection.send(body, version).await.ok()
    })
}
