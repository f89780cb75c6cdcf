//! Pointer stubs: small ordinary files that a storage system leaves in the place of an instance, and that name where it
//! has gone. Told from their bytes alone, by pure functions: nothing in here opens, follows or fetches what is named,
//! and the target of a pointer may itself be a stub that is recalled when it is read.
//!
//! A kind is a file of this room and one line of `KINDS`. Every recogniser is total over whatever bytes: it ends
//! within linear time, allocates no more than a few times the bytes that it was given, and never by a length that these
//! declare.
//!
//! DICOM comes first. A preamble (PS3.10 7.1) may hold the first bytes of a shell link or of a tar archive, and the file
//! is an instance all the same; so the header reader is asked before this room is.

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

/// No pointer is larger. What is, holds something else than a name.
pub const MOST: u64 = 64 * 1024;

/// The recognisers, in the order in which they are asked. The first one that knows a file has it.
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

/// A file that stands for another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// By the name of its format.
    pub kind: &'static str,
    /// In the order in which they are to be tried. None: the pointer is opaque, or damaged; it is known as one, and
    /// leads nowhere.
    pub targets: Vec<Target>,
    /// How large the target was, where the pointer tells.
    pub claimed_size: Option<u64>,
    /// The target was on slow storage when the pointer was made.
    pub offline: bool,
    /// It is no pointer: what is sought may be within.
    pub is_container: bool,
}

/// Where a pointer leads, as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A path as it stands in the pointer: of Windows, with a drive or a server (UNC), or of POSIX; absolute, or
    /// relative to the directory of the pointer. It was written by whoever made the pointer: one that no path map covers
    /// is not to be touched, since Windows logs on to whatever server a path names.
    Path(String),
    /// An address, which is never fetched.
    Address(String),
    /// The key of an object in the store of git-annex, Git LFS or DVC.
    Key { algorithm: String, key: String },
}

/// What is known of a file that is no DICOM.
#[derive(Clone, Copy)]
pub struct File<'a> {
    /// Its first bytes; the whole of it where it is no larger than [`MOST`].
    pub head: &'a [u8],
    pub size: u64,
    pub name: &'a OsStr,
    /// Of text without a mark of its own. No format stores which it was.
    pub code_page: &'static Encoding,
}

/// Tells a pointer by its bytes, taking its text for Western European where it is not Unicode.
pub fn recognise(head: &[u8], size: u64, name: &OsStr) -> Option<Pointer> {
    File { head, size, name, code_page: WINDOWS_1252 }.recognise()
}

/// The text of a pointer of whatever kind.
pub fn decode(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => WINDOWS_1252.decode(bytes).0,
    }
}

impl<'a> File<'a> {
    pub fn recognise(&self) -> Option<Pointer> {
        // A polyglot: the preamble of a DICOM file is free for the beginning of another format.
        if self.head.get(128..132) == Some(b"DICM") {
            return None;
        }
        KINDS.iter().find_map(|recognise| recognise(self))
    }

    /// All bytes of a file that is small enough for a pointer. A name that is cut would be that of another file, so one
    /// whose end was not read is none.
    fn whole(&self) -> Option<&'a [u8]> {
        let is_whole = self.size <= MOST && self.head.len() as u64 == self.size;
        is_whole.then_some(self.head)
    }

    /// One that begins with the magic bytes of a format: what comes behind these.
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
    /// A path, unless no file can have it.
    pub(super) fn path(path: impl Into<String>) -> Option<Self> {
        let path = path.into();
        (!path.is_empty() && !path.contains('\0')).then_some(Target::Path(path))
    }

    /// As it is told.
    pub fn text(&self) -> String {
        match self {
            Target::Path(text) | Target::Address(text) => text.clone(),
            Target::Key { algorithm, key } => format!("{algorithm}:{key}"),
        }
    }
}

#[cfg(test)]
mod tests;
