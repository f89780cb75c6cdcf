//! Pointer stubs: small ordinary files that a storage system leaves in the place of an instance,
//! and that name its new location. Pure functions recognize pointers from their bytes alone:
//! nothing in this module opens, follows or fetches a target, and the target of a pointer may
//! itself be a stub that is recalled when it is read.
//!
//! Each kind is a file of this module and one line of `KINDS`. Every recognizer is total over
//! arbitrary bytes: it ends in linear time, allocates at most a few times the number of bytes that
//! it was given, and never allocates by a length that the bytes declare.
//!
//! DICOM comes first. A preamble (PS3.10 7.1) may hold the first bytes of a shell link or of a tar
//! archive, and the file is an instance nevertheless; so the header reader runs before this module.

mod annex;
mod bytes;
mod container;
mod desktop_link;
mod internet_shortcut;
mod mac_alias;
mod pseudo_symlink;
mod shell_link;
mod text;
mod vendor_text;

use std::ffi::OsStr;

use encoding_rs::{Encoding, WINDOWS_1252};

/// The maximum size of a pointer in bytes. A larger file contains more than a name.
pub const MOST: u64 = 64 * 1024;

/// The recognizers, in the order in which they run. The first match determines the kind of a file.
const KINDS: &[fn(&File) -> Option<Pointer>] = &[
    shell_link::recognise,
    internet_shortcut::recognise,
    desktop_link::recognise,
    pseudo_symlink::xsym,
    pseudo_symlink::interix,
    pseudo_symlink::cygwin,
    mac_alias::recognise,
    annex::git_annex,
    annex::lfs,
    annex::dvc,
    vendor_text::recognise,
    container::recognise,
];

/// A file that represents another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The name of the pointer's format.
    pub kind: &'static str,
    /// The targets, in the order in which to try them. Empty if the pointer is opaque or damaged:
    /// it is recognized as a pointer, but cannot be followed.
    pub targets: Vec<Target>,
    /// The size of the target in bytes, if the pointer contains it.
    pub claimed_size: Option<u64>,
    /// Whether the target was on slow storage when the pointer was created.
    pub offline: bool,
    /// Whether the file is a container, not a pointer: the instance may be inside it.
    pub is_container: bool,
}

/// A target, as the pointer names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A path in the spelling of the pointer: of Windows, with a drive or a server (UNC), or of
    /// POSIX; absolute, or relative to the directory of the pointer. The path is untrusted input: a
    /// path of Windows that no path map covers is never accessed, since Windows logs on to any
    /// server that a path names.
    Path(String),
    /// An address, which is never fetched.
    Address(String),
    /// The key of an object in the store of git-annex, Git LFS or DVC.
    Key { algorithm: String, key: String },
}

/// The properties of a file without DICOM from which a pointer is recognized.
#[derive(Clone, Copy)]
pub struct File<'a> {
    /// The first bytes of the file; all bytes if the file is no larger than [`MOST`].
    pub head: &'a [u8],
    pub size: u64,
    pub name: &'a OsStr,
    /// The encoding of text without a byte order mark. No format stores its encoding.
    pub code_page: &'static Encoding,
}

/// Recognizes a pointer by its bytes. Text that is not Unicode is decoded as Western European.
pub fn recognise(head: &[u8], size: u64, name: &OsStr) -> Option<Pointer> {
    File { head, size, name, code_page: WINDOWS_1252 }.recognise()
}

/// Decodes the text of a pointer of any kind.
pub fn decode(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => WINDOWS_1252.decode(bytes).0,
    }
}

impl<'a> File<'a> {
    pub fn recognise(&self) -> Option<Pointer> {
        // A polyglot: the preamble of a DICOM file may contain the beginning of another format.
        if self.head.get(128..132) == Some(b"DICM") {
            return None;
        }
        KINDS.iter().find_map(|recognise| recognise(self))
    }

    /// All bytes of a file that is small enough for a pointer. `None` if the file was not read to
    /// its end: a truncated name would be the name of another file.
    fn whole(&self) -> Option<&'a [u8]> {
        let is_whole = self.size <= MOST && self.head.len() as u64 == self.size;
        is_whole.then_some(self.head)
    }

    /// The bytes after the magic bytes of a format, if the file begins with these.
    fn behind(&self, magic: &[u8]) -> Option<&'a [u8]> {
        self.whole()?.strip_prefix(magic)
    }
}

impl Pointer {
    pub(super) fn to(kind: &'static str, targets: impl IntoIterator<Item = Target>) -> Self {
        let targets = targets.into_iter().collect();
        Pointer { kind, targets, claimed_size: None, offline: false, is_container: false }
    }

    fn opaque(kind: &'static str) -> Self {
        Pointer::to(kind, None)
    }
}

impl Target {
    /// Creates the target for a path. Returns `None` if no file can have the path.
    pub(super) fn path(path: impl Into<String>) -> Option<Self> {
        let path = path.into();
        (!path.is_empty() && !path.contains('\0')).then_some(Target::Path(path))
    }

    /// The text of the target for reports.
    pub fn text(&self) -> String {
        match self {
            Target::Path(text) | Target::Address(text) => text.clone(),
            Target::Key { algorithm, key } => format!("{algorithm}:{key}"),
        }
    }
}

#[cfg(test)]
mod tests;
