//! Pointers of version control for large files: git-annex (DataLad), Git LFS, DVC. A pointer names
//! an object by the hash of its content, and often contains its size. Only the repository knows
//! where the object store is.

use super::{File, Pointer, Target};

/// Recognizes a pointer (`/annex/objects/KEY` in its first line), or the text of a symbolic link
/// into the store, which a file system without links stores as a file.
pub fn git_annex(file: &File) -> Option<Pointer> {
    const MOST: usize = 32 * 1024;
    const OBJECTS: &str = "/annex/objects/";
    let text = std::str::from_utf8(file.whole()?).ok().filter(|text| text.len() <= MOST)?;
    let mut lines = text.lines();
    let first = lines.next()?;
    let (before, key) = first.split_once(OBJECTS)?;
    let is_link = before.ends_with(".git") && lines.clone().next().is_none();
    let is_pointer = before.is_empty() && lines.all(|line| line.is_empty() || line.contains("/annex/"));
    if !is_link && !is_pointer {
        return None;
    }
    let key = key.rsplit('/').next()?;
    let (backend, size) = annex_key(key)?;
    let path = Some(first).filter(|_| is_link).and_then(Target::path);
    let key = Target::Key { algorithm: backend.to_owned(), key: key.to_owned() };
    let mut pointer = Pointer::to("git-annex pointer", path.into_iter().chain([key]));
    pointer.claimed_size = size;
    Some(pointer)
}

/// Parses `BACKEND-sSIZE-mMTIME--NAME` into the backend and the size. Any field except the first
/// and the last may be missing.
fn annex_key(key: &str) -> Option<(&str, Option<u64>)> {
    let (fields, name) = key.split_once("--")?;
    let mut fields = fields.split('-');
    let is_backend = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let backend = fields.next().filter(|backend| !backend.is_empty() && backend.bytes().all(is_backend))?;
    let size = fields.find_map(|field| field.strip_prefix('s')).and_then(number);
    // The store contains a file of this name.
    let is_name = !name.is_empty() && !key.contains(char::is_control);
    is_name.then_some((backend, size))
}

/// Recognizes lines of a key and a value, the version first. No pointer is larger than a kilobyte.
pub fn lfs(file: &File) -> Option<Pointer> {
    let rest = file.behind(b"version https://git-lfs.github.com/spec/v").filter(|_| file.size <= 1024)?;
    let text = std::str::from_utf8(rest).ok()?;
    let value = |key: &str| text.lines().skip(1).find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    let is_algorithm = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let oid = value("oid").and_then(|oid| oid.split_once(':'));
    let oid = oid.filter(|(algorithm, digits)| is_algorithm(algorithm) && is_hash(digits));
    let key = oid.map(|(algorithm, digits)| Target::Key { algorithm: algorithm.to_owned(), key: digits.to_owned() });
    let mut pointer = Pointer::to("Git LFS pointer", key);
    pointer.claimed_size = value("size").and_then(number);
    Some(pointer)
}

/// Recognizes the output of `dvc add`: the list `outs` with one entry. The path of the entry is
/// where the content is checked out.
///
/// Reads only the lines as the program writes them, not all of YAML. A list with several entries,
/// or with an entry for a directory, does not point to an instance. A path relative to another
/// working directory is ignored.
pub fn dvc(file: &File) -> Option<Pointer> {
    let is_named = file.name.as_encoded_bytes().to_ascii_lowercase().ends_with(b".dvc");
    let text = std::str::from_utf8(file.whole()?).ok().filter(|_| is_named)?;
    let mut lines = text.lines().skip_while(|line| line.trim_end() != "outs:");
    lines.next()?;
    let entries = lines.map_while(dvc_entry);
    let value = |key: &str| entries.clone().find(|(_, name, _)| *name == key).map(|(_, _, value)| value);
    let is_one = entries.clone().filter(|(begins, ..)| *begins).count() == 1;
    let md5 = value("md5").filter(|md5| is_one && is_hash(md5));
    let is_here = md5.is_some() && !text.lines().any(|line| line.starts_with("wdir:"));
    let path = value("path").filter(|_| is_here).and_then(Target::path);
    let key = md5.map(|md5| Target::Key { algorithm: "md5".to_owned(), key: md5.to_owned() });
    let mut pointer = Pointer::to("DVC pointer", path.into_iter().chain(key));
    pointer.claimed_size = value("size").and_then(number);
    Some(pointer)
}

/// Parses a line of the list: whether an entry begins with it, its key and its value. Returns
/// `None` where the list ends.
fn dvc_entry(line: &str) -> Option<(bool, &str, &str)> {
    let begins = line.trim_start().starts_with("- ");
    let is_within = begins || line.starts_with(' ');
    let (key, value) = line.trim_start_matches([' ', '-']).split_once(':').filter(|_| is_within)?;
    let value = value.trim();
    let unquoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    Some((begins, key, unquoted('\'').or_else(|| unquoted('"')).unwrap_or(value)))
}

fn is_hash(digits: &str) -> bool {
    (32..=128).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}
