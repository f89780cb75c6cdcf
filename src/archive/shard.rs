//! A part of the archive that one of several processes or machines reads.
//!
//! Shards consist of directories. A directory whose name is a day of receipt belongs to a shard as
//! a whole, with all that is below it, so that each such directory is listed by one process. Other
//! directories are divided one by one. The path of a directory below its root determines its shard.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_64;

use super::layout;

/// The number of a shard, and the number of all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The number of the shard, counted from 1.
    number: u32,
    of: u32,
}

/// The maximum number of shards.
const MOST: u32 = 10_000;

impl Shard {
    pub fn number(self) -> u32 {
        self.number
    }

    pub fn of(self) -> u32 {
        self.of
    }

    /// Whether the files of a directory belong to this shard.
    pub fn holds(self, root: &Path, directory: &Path) -> bool {
        // A root may itself be below the directory of a day.
        let below_root = directory.ancestors().take_while(|above| above.starts_with(root) && *above != root);
        let day = below_root.filter(|above| layout::received_on(root, above).is_some()).last();
        let path = day.unwrap_or(directory).strip_prefix(root).unwrap_or(directory);
        xxh3_64(path.as_os_str().as_encoded_bytes()) % u64::from(self.of) == u64::from(self.number - 1)
    }

    /// Whether nothing below a directory belongs to this shard.
    pub fn passes_over(self, root: &Path, directory: &Path) -> bool {
        directory != root && layout::received_on(root, directory).is_some() && !self.holds(root, directory)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) && of <= MOST => Ok(Shard { number, of }),
            _ => Err(format!("write 1/4 for the first of four shards, of which there may be {MOST}")),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(of: u32) -> impl Iterator<Item = Shard> {
        (1..=of).map(move |number| Shard { number, of })
    }

    #[test]
    fn each_directory_is_in_one_shard_and_a_day_with_all_below_it() {
        let root = Path::new("/archive");
        for day in 1..=28 {
            for study in ["", "/1.2.3", "/1.2.4/5"] {
                for directory in [format!("/archive/2021-11-{day:02}-FRI{study}"), format!("/archive/P{day}{study}")] {
                    let directory = Path::new(&directory);
                    assert_eq!(shards(5).filter(|shard| shard.holds(root, directory)).count(), 1, "{directory:?}");
                }
            }
            let (day, below) = (format!("/archive/2021/11/{day:02}"), format!("/archive/2021/11/{day:02}/1.2.3"));
            for shard in shards(3) {
                assert_eq!(shard.holds(root, day.as_ref()), shard.holds(root, below.as_ref()));
                assert_eq!(shard.passes_over(root, day.as_ref()), !shard.holds(root, below.as_ref()));
            }
        }
        assert!(
            shards(3).all(|shard| !shard.passes_over(root, root) && !shard.passes_over(root, Path::new("/archive/P1")))
        );
    }

    #[test]
    fn a_shard_does_not_depend_on_where_the_archive_is_mounted() {
        for shard in shards(7) {
            let holds = |root: &str| shard.holds(root.as_ref(), Path::new(root).join("2021-11-12-FRI/1.2").as_ref());
            assert_eq!(holds("/mnt/a"), holds("/srv/archive"));
        }
    }

    #[test]
    fn a_shard_that_is_none_is_refused() {
        assert_eq!("2/4".parse(), Ok(Shard { number: 2, of: 4 }));
        assert!(
            ["0/4", "5/4", "1", "a/b", "1/0", "1/100000", "-1/2"].iter().all(|text| text.parse::<Shard>().is_err())
        );
    }
}
