//! Serializes bytes as one piece, for fields of values that are written to disk. By default, each
//! byte is written as an element of a list.

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

pub fn serialize<T: AsRef<[u8]>, S: Serializer>(bytes: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes.as_ref())
}

pub fn deserialize<'de, T: From<&'de [u8]>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_bytes(Borrowed).map(T::from)
}

struct Borrowed;

impl<'de> Visitor<'de> for Borrowed {
    type Value = &'de [u8];

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bytes")
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(bytes)
    }
}

/// Optional bytes.
pub mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Bytes<T>(
        #[serde(with = "super", bound(serialize = "T: AsRef<[u8]>", deserialize = "T: for<'a> From<&'a [u8]>"))] T,
    );

    pub fn serialize<T: AsRef<[u8]>, S: Serializer>(bytes: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(|bytes| Bytes(bytes.as_ref())).serialize(serializer)
    }

    pub fn deserialize<'de, T, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: for<'a> From<&'a [u8]>,
    {
        Ok(Option::<Bytes<T>>::deserialize(deserializer)?.map(|Bytes(bytes)| bytes))
    }
}

/// Bytes that are the same in nearly all values. They are kept in memory once for each thread.
pub mod shared {
    use std::cell::RefCell;
    use std::sync::Arc;

    use serde::Deserializer;

    pub use super::serialize;

    /// The maximum number of different byte strings that are shared.
    const MOST: usize = 8;

    thread_local! {
        static LATEST: RefCell<Vec<Arc<[u8]>>> = const { RefCell::new(Vec::new()) };
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[u8]>, D::Error> {
        let bytes = deserializer.deserialize_bytes(super::Borrowed)?;
        Ok(LATEST.with_borrow_mut(|latest| match latest.iter().find(|known| ***known == *bytes) {
            Some(known) => known.clone(),
            None => {
                let new = Arc::<[u8]>::from(bytes);
                latest.truncate(MOST - 1);
                latest.insert(0, new.clone());
                new
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Fields {
        #[serde(with = "super")]
        bytes: Arc<[u8]>,
        #[serde(with = "super::optional")]
        some: Option<Arc<[u8]>>,
        #[serde(with = "super::optional")]
        none: Option<Arc<[u8]>>,
    }

    #[test]
    fn bytes_come_back() {
        let fields = Fields { bytes: Arc::from(*b"abc"), some: Some(Arc::from(*b"")), none: None };
        let encoded = postcard::to_allocvec(&fields).unwrap();
        assert_eq!(encoded, b"\x03abc\x01\x00\x00");
        assert_eq!(postcard::from_bytes::<Fields>(&encoded).unwrap(), fields);
    }
}
