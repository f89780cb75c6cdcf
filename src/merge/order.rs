//! The precedence key of instances: seconds of receipt, SOP Instance UID, path. The key is stored
//! with the values of each row, so it is short: if the name of a file is its UID, the key contains
//! the UID only once.

use std::cmp::Ordering;

use crate::index::Entry;
use crate::index::entry::RECEIVED;

/// Terminates the UID, and replaces a UID at the end of the path. No path contains this byte.
const MARK: u8 = 0;

/// Encodes the precedence key of an entry, for [`compare`].
pub fn of(entry: &Entry, into: &mut Vec<u8>) {
    let uid = entry.instance.sop_instance_uid();
    into.clear();
    into.extend(entry.received().bytes());
    into.extend(uid.bytes());
    into.push(MARK);
    match entry.path.strip_suffix(uid) {
        Some(directory) => {
            into.extend(directory.bytes());
            into.push(MARK);
        }
        None => into.extend(entry.path.bytes()),
    }
}

pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let [(a, a_path), (b, b_path)] = [a, b].map(split);
    a.cmp(b).then_with(|| path(a, a_path).cmp(path(b, b_path)))
}

/// Returns the time of receipt, with a precision of seconds.
pub fn received(order: &[u8]) -> &str {
    order.get(..RECEIVED).and_then(|received| str::from_utf8(received).ok()).unwrap_or_default()
}

fn split(order: &[u8]) -> (&[u8], &[u8]) {
    let end = order.iter().position(|byte| *byte == MARK);
    end.map_or((order, &[]), |end| (&order[..end], &order[end + 1..]))
}

fn path<'a>(head: &'a [u8], path: &'a [u8]) -> impl Iterator<Item = &'a u8> {
    let (path, uid) = match path.strip_suffix(&[MARK]) {
        Some(directory) => (directory, head.get(RECEIVED..).unwrap_or_default()),
        None => (path, &[] as &[u8]),
    };
    path.iter().chain(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: &str = "2020-01-01 00:00:00";
    const LATE: &str = "2020-01-01 00:00:01";

    fn order(received: &str, uid: &str, path: &str) -> Vec<u8> {
        let path = path.strip_suffix(uid).map_or(path.to_owned(), |directory| format!("{directory}\0"));
        format!("{received}{uid}\0{path}").into_bytes()
    }

    /// Compares all pairs, including paths that end with the UID.
    #[test]
    fn places_are_ordered_by_receipt_and_uid_and_path() {
        let paths = ["/a/1.2", "/a/1.2/1.2", "/a/1.1", "/a/1.3", "/a/", "/a/1", "/b/1.2.3", "/a", "1.2", "1.2.3", ""];
        let mut all = Vec::new();
        for received in [EARLY, LATE] {
            for uid in ["1.2", "1.2.3", "1.20"] {
                all.extend(paths.map(|path| (received, uid, path)));
            }
        }
        for a in &all {
            for b in &all {
                let [one, other] = [a, b].map(|(received, uid, path)| order(received, uid, path));
                assert_eq!(compare(&one, &other), a.cmp(b), "{a:?} {b:?}");
            }
        }
        assert_eq!(received(&order(LATE, "1.2", "/a/1.2")), LATE);
        assert_eq!(received(b""), "");
    }
}
