//! `meta.properties`: which cluster and broker a log directory belongs to (KIP-631 tells the versions apart;
//! brokers on ZooKeeper write version 0).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::disk::{Disk, DiskError};

pub(super) const META_PROPERTIES: &str = "meta.properties";

/// What a `meta.properties` file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MetaProperties {
    version: i32,
    cluster_id: Option<String>,
    broker_id: Option<i32>,
}

/// Why one file cannot be read; its directory is offline then.
#[derive(Debug, Error)]
pub(super) enum MetaPropertiesError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{}: {key} has the value {value:?}, which is not {expected}", path.display())]
    BadValue { path: PathBuf, key: &'static str, value: String, expected: &'static str },
}

/// The directories do not belong to this broker, or not together. Starting would mix up data.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    #[error(
        "Found unexpected version in {}. ZK-based brokers that are not migrating only support version 0 (which is \
         implicit when the `version` field is missing).",
        path.display()
    )]
    UnexpectedVersion { path: PathBuf },
    #[error("Invalid cluster.id in: {}. Expected {expected}, but read {found}", path.display())]
    ClusterId { path: PathBuf, expected: String, found: String },
    #[error(
        "Stored node id {found} doesn't match previous node id {expected} in {}. If you moved your data, make sure \
         your configured node id matches. If you intend to create a new node, you should remove all data in your \
         data directories.",
        path.display()
    )]
    BrokerId { path: PathBuf, expected: i32, found: i32 },
}

/// Reads a directory's file; `None` if it has none.
pub(super) fn read(disk: &Disk, dir: &Path) -> Result<Option<MetaProperties>, MetaPropertiesError> {
    let path = dir.join(META_PROPERTIES);
    let bytes = match disk.read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.is_not_found() => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let properties = parse_properties(&String::from_utf8_lossy(&bytes));
    let number = |key: &'static str| match properties.get(key) {
        None => Ok(None),
        Some(value) => match value.parse::<i32>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => {
                let (path, value) = (path.clone(), value.clone());
                Err(MetaPropertiesError::BadValue { path, key, value, expected: "a number" })
            }
        },
    };
    let version = number("version")?.unwrap_or(0);
    if !(0..=1).contains(&version) {
        let (value, expected) = (version.to_string(), "a known version (0 or 1)");
        return Err(MetaPropertiesError::BadValue { path, key: "version", value, expected });
    }
    let broker_id = if version == 0 { number("broker.id")? } else { number("node.id")? };
    Ok(Some(MetaProperties { version, cluster_id: properties.get("cluster.id").cloned(), broker_id }))
}

/// Checks that all files found belong to this cluster and to one broker, and says which broker that is:
/// the configured one, else the one of the files.
pub(super) fn verify<'a>(
    found: impl Iterator<Item = (&'a Path, &'a MetaProperties)>,
    cluster_id: &str,
    configured_broker_id: Option<i32>,
) -> Result<Option<i32>, IdentityError> {
    let mut broker_id = configured_broker_id;
    for (dir, properties) in found {
        let path = dir.join(META_PROPERTIES);
        if properties.version != 0 {
            return Err(IdentityError::UnexpectedVersion { path });
        }
        if let Some(found) = properties.cluster_id.as_deref().filter(|found| *found != cluster_id) {
            let (expected, found) = (cluster_id.to_owned(), found.to_owned());
            return Err(IdentityError::ClusterId { path, expected, found });
        }
        match (broker_id, properties.broker_id) {
            (Some(expected), Some(found)) if expected != found => {
                return Err(IdentityError::BrokerId { path, expected, found });
            }
            (None, Some(found)) => broker_id = Some(found),
            _ => {}
        }
    }
    Ok(broker_id)
}

/// Writes a directory's file, unless it says the same already.
pub(super) fn write(
    disk: &Disk,
    dir: &Path,
    present: Option<&MetaProperties>,
    cluster_id: &str,
    broker_id: i32,
    now_ms: i64,
) -> Result<(), DiskError> {
    let wanted =
        MetaProperties { version: 0, cluster_id: Some(cluster_id.to_owned()), broker_id: Some(broker_id) };
    if present == Some(&wanted) {
        return Ok(());
    }
    let cluster_id = escaped(cluster_id);
    let date = java_date(now_ms);
    let text = format!("#\n#{date}\nbroker.id={broker_id}\ncluster.id={cluster_id}\nversion=0\n");
    disk.replace(&dir.join(META_PROPERTIES), text.as_bytes())
}

/// Reads the part of Java's property syntax that property writers use: comments, `key=value` or `key:value`, and
/// backslash before a character that stands for itself.
fn parse_properties(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
    lines
        .map(|line| {
            let mut key = String::new();
            let mut rest = line.chars();
            while let Some(c) = rest.next() {
                match c {
                    '\\' => key.extend(rest.next()),
                    '=' | ':' | ' ' | '\t' => break,
                    c => key.push(c),
                }
            }
            let rest = rest.as_str().trim_start().trim_start_matches(['=', ':']).trim_start();
            let mut value = String::new();
            let mut chars = rest.chars();
            while let Some(c) = chars.next() {
                match c {
                    '\\' => value.extend(chars.next()),
                    c => value.push(c),
                }
            }
            (key, value)
        })
        .collect()
}

/// Java puts a backslash before characters that would end or open something.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | '=' | ':' | '#' | '!') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// `Sat Nov 22 01:50:07 UTC 2025`, as `java.util.Date` shows itself.
fn java_date(now_ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = now_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let name = |names: &[&'static str], at: i64| {
        usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or("")
    };
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        name(&DAYS, days.rem_euclid(7)),
        name(&MONTHS, month - 1),
        second / 3600,
        second / 60 % 60,
        second % 60,
    )
}

/// Year, month and day of a number of days since 1970 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Option<MetaProperties>, MetaPropertiesError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(META_PROPERTIES), text).unwrap();
        read(&Disk::Real, dir.path())
    }

    fn properties(version: i32, cluster_id: &str, broker_id: i32) -> MetaProperties {
        MetaProperties { version, cluster_id: Some(cluster_id.into()), broker_id: Some(broker_id) }
    }

    #[test]
    fn reads_kafkas_file() {
        let text =
            "#\n#Sat Nov 22 01:50:07 UTC 2025\ncluster.id=nJlk9qWhRRi6hLk0W6D12g\nversion=0\nbroker.id=7\n";
        assert_eq!(read_text(text).unwrap(), Some(properties(0, "nJlk9qWhRRi6hLk0W6D12g", 7)));
        let no_version = "broker.id = 7\ncluster.id: a\\=b\n";
        assert_eq!(read_text(no_version).unwrap(), Some(properties(0, "a=b", 7)));
        assert!(read_text("version=2\n").is_err());
        assert!(read_text("broker.id=x\n").is_err());
    }

    #[test]
    fn writes_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(META_PROPERTIES);
        write(&Disk::Real, dir.path(), None, "c:1", 3, 1_763_776_207_999).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "#\n#Sat Nov 22 01:50:07 UTC 2025\nbroker.id=3\ncluster.id=c\\:1\nversion=0\n");
        let present = read(&Disk::Real, dir.path()).unwrap();
        assert_eq!(present, Some(properties(0, "c:1", 3)));
        write(&Disk::Real, dir.path(), present.as_ref(), "c:1", 3, 0).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "not rewritten when it is right");
    }

    #[test]
    fn dates_are_javas() {
        assert_eq!(java_date(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(java_date(951_782_400_000), "Tue Feb 29 00:00:00 UTC 2000");
        assert_eq!(java_date(4_107_542_399_000), "Sun Feb 28 23:59:59 UTC 2100");
    }

    #[test]
    fn all_files_belong_together() {
        let (a, b) = (Path::new("/a"), Path::new("/b"));
        let (seven, eight) = (properties(0, "c", 7), properties(0, "c", 8));
        let check =
            |found: &[(&Path, &MetaProperties)], configured| verify(found.iter().copied(), "c", configured);
        assert_eq!(check(&[], None), Ok(None));
        assert_eq!(check(&[(a, &seven), (b, &seven)], None), Ok(Some(7)));
        assert_eq!(check(&[(a, &seven)], Some(7)), Ok(Some(7)));
        let error = check(&[(a, &seven), (b, &eight)], None).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("Stored node id 8 doesn't match previous node id 7 in /b/meta.properties.")
        );
        let error = check(&[(a, &properties(0, "d", 7))], Some(7)).unwrap_err();
        assert_eq!(error.to_string(), "Invalid cluster.id in: /a/meta.properties. Expected c, but read d");
        let path = PathBuf::from("/a/meta.properties");
        assert_eq!(
            check(&[(a, &properties(1, "c", 7))], None),
            Err(IdentityError::UnexpectedVersion { path })
        );
    }
}
