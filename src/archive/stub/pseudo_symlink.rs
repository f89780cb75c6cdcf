//! Symbolic links that were written as ordinary files, because a file system or a protocol does not
//! support them: by SMB clients (`XSym`, as of Linux' cifs and of macOS), by Services for UNIX and
//! NFS servers of Windows (`IntxLNK`), and by Cygwin (`!<symlink>`). Other clients than the one
//! that wrote them see ordinary files.

use encoding_rs::UTF_8;
use md5::{Digest, Md5};

use super::bytes::{decode, terminated, terminated_unicode, unicode};

pub const XSYM: &str = "symbolic link (XSym)";
pub const INTERIX: &str = "symbolic link (Interix)";
pub const CYGWIN: &str = "symbolic link (Cygwin)";
use super::{File, Pointer, Target};

/// Recognizes `XSym`, the length in four digits, and the MD5 of the path in hexadecimal digits,
/// each followed by a line feed; then the path, a line feed if there is room, and blanks.
pub fn xsym(file: &File) -> Option<Pointer> {
    const SIZE: usize = 1067;
    let bytes = file.whole().filter(|bytes| bytes.len() == SIZE && bytes.starts_with(b"XSym\n"))?;
    let path = xsym_path(bytes).and_then(|path| decode(path, UTF_8));
    Some(Pointer::to(XSYM, path.and_then(Target::path)))
}

/// The path of an `XSym` file. `None` if the path does not match its hash, because the file is
/// damaged. A client does not treat such a file as a link; here it is a link without a target.
fn xsym_path(bytes: &[u8]) -> Option<&[u8]> {
    let lengths = bytes.get(5..9).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let length = lengths.iter().fold(0, |length, digit| 10 * length + usize::from(digit - b'0'));
    let hash = bytes.get(10..42)?;
    let path = bytes.get(43..)?.get(..length)?;
    let computed: String = Md5::digest(path).iter().map(|byte| format!("{byte:02x}")).collect();
    let is_whole = bytes[9] == b'\n' && bytes[42] == b'\n' && hash.eq_ignore_ascii_case(computed.as_bytes());
    is_whole.then_some(path)
}

/// Recognizes a path in UTF-16 that extends to the end, or to a NUL.
pub fn interix(file: &File) -> Option<Pointer> {
    let path = file.behind(b"IntxLNK\x01")?;
    let path = terminated_unicode(path, 0).or_else(|| unicode(path));
    Some(Pointer::to(INTERIX, path.and_then(Target::path)))
}

/// Recognizes a path in UTF-16 after a byte order mark, or in bytes, as old versions wrote it. Both
/// end with a NUL.
pub fn cygwin(file: &File) -> Option<Pointer> {
    let path = file.behind(b"!<symlink>")?;
    let path = match path.strip_prefix(b"\xFF\xFE") {
        Some(path) => terminated_unicode(path, 0),
        None => terminated(path, 0, UTF_8).or_else(|| terminated(path, 0, file.code_page)),
    };
    Some(Pointer::to(CYGWIN, path.and_then(Target::path)))
}
