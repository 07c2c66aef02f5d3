//! The brokers to begin with.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// `bootstrap.servers`: where brokers of the cluster are to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    addresses: Vec<Arc<str>>,
}

/// Why there is nothing to begin with. The texts are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    #[error("Invalid url in bootstrap.servers: {url}")]
    InvalidUrl { url: String },
    #[error("Invalid port in bootstrap.servers: {url}")]
    InvalidPort { url: String },
    #[error("No resolvable bootstrap urls given in bootstrap.servers")]
    NoneResolvable,
}

impl Bootstrap {
    /// Reads `host:port,host:port,…` and asks for the hosts' addresses: one of them must be known.
    pub async fn resolve(servers: &str) -> Result<Bootstrap, BootstrapError> {
        let mut addresses: Vec<Arc<str>> = Vec::new();
        for address in parse(servers)? {
            let found = tokio::net::lookup_host(&*address).await.map(|mut found| found.next());
            match found {
                Ok(Some(_)) => addresses.push(address.into()),
                Ok(None) => tracing::warn!(address, "the name of a bootstrap server has no address"),
                Err(error) => tracing::warn!(address, %error, "cannot look a bootstrap server up"),
            }
        }
        match addresses.is_empty() {
            true => Err(BootstrapError::NoneResolvable),
            false => Ok(Bootstrap { addresses }),
        }
    }

    pub(crate) fn addresses(&self) -> &[Arc<str>] {
        &self.addresses
    }
}

/// The addresses of a list, in a form that can be looked up.
fn parse(servers: &str) -> Result<Vec<String>, BootstrapError> {
    servers.split(',').map(str::trim).filter(|url| !url.is_empty()).map(parse_url).collect()
}

/// `host:port`, `[v6]:port`, and either of them with `scheme://` before it.
fn parse_url(url: &str) -> Result<String, BootstrapError> {
    let invalid = || BootstrapError::InvalidUrl { url: url.to_owned() };
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if scheme.chars().all(is_scheme_char) => rest,
        _ => url,
    };
    let (host, port) = rest.rsplit_once(':').ok_or_else(invalid)?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    let all_digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if host.is_empty() || !all_digits || !host.chars().all(|c| c == ':' || is_scheme_char(c)) {
        return Err(invalid());
    }
    let port: u16 = port.parse().map_err(|_| BootstrapError::InvalidPort { url: url.to_owned() })?;
    Ok(host_and_port(host, i32::from(port)))
}

fn is_scheme_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '%' | '.' | '_')
}

/// `host:port`, with brackets around an address of IPv6.
pub fn host_and_port(host: &str, port: i32) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => format!("[{host}]:{port}"),
        _ if host.parse::<Ipv6Addr>().is_ok() => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_kafka_reads_them() {
        let read = |servers: &str| parse(servers).map_err(|error| error.to_string());
        let some = |urls: &[&str]| Ok(urls.iter().map(|url| url.to_string()).collect::<Vec<_>>());
        assert_eq!(read("h:1 , g:2,,"), some(&["h:1", "g:2"]));
        assert_eq!(read("PLAINTEXT://h-1.example_x:9092"), some(&["h-1.example_x:9092"]));
        assert_eq!(read("[::1]:9092"), some(&["[::1]:9092"]));
        assert_eq!(read("::1:9092"), some(&["[::1]:9092"]));
        assert_eq!(read(""), some(&[]));
        for url in ["localhost", "h:", ":1", "h:x", "a b:1", "ä:1"] {
            assert_eq!(read(url), Err(format!("Invalid url in bootstrap.servers: {url}")));
        }
        assert_eq!(read("h:65536"), Err("Invalid port in bootstrap.servers: h:65536".to_owned()));
    }

    #[tokio::test]
    async fn one_known_host_is_enough() {
        let of = async |servers: &str| Bootstrap::resolve(servers).await.map(|found| found.addresses);
        assert_eq!(of("no.such.host.invalid:1,127.0.0.1:2").await, Ok(vec!["127.0.0.1:2".into()]));
        assert_eq!(of("no.such.host.invalid:1").await, Err(BootstrapError::NoneResolvable));
        assert_eq!(of("").await, Err(BootstrapError::NoneResolvable));
    }
}
