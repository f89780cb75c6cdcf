//! Shell links of Windows (MS-SHLLINK), recognized by their magic bytes: a storage system may leave
//! them under the name of the instance, without `.lnk`.
//!
//! A link names its target up to six times. LinkInfo comes first, with a drive and with a server;
//! then the path relative to the link's directory, which stays valid if the whole archive is moved;
//! then the environment block. The item identifiers belong to the machine that created the link,
//! and are skipped.

use encoding_rs::Encoding;

use super::bytes::{decode, offset_at, terminated, terminated_unicode, u16_at, u32_at, unicode};
use super::{File, Pointer, Target};

/// The size of the header, and the class identifier of shell links.
const MAGIC: [u8; 20] = *b"\x4C\0\0\0\x01\x14\x02\0\0\0\0\0\xC0\0\0\0\0\0\0\x46";
const HEADER: usize = 0x4C;

const HAS_ITEM_IDS: u32 = 0x1;
const HAS_LINK_INFO: u32 = 0x2;
const HAS_RELATIVE_PATH: u32 = 0x8;
/// The flags of the strings in their order: name, relative path, working directory, arguments,
/// location of the icon.
const STRINGS: [u32; 5] = [0x4, HAS_RELATIVE_PATH, 0x10, 0x20, 0x40];
const IS_UNICODE: u32 = 0x80;
/// LinkInfo is present, but must not be used.
const FORCE_NO_LINK_INFO: u32 = 0x100;

const FILE_ATTRIBUTE_OFFLINE: u32 = 0x1000;

pub fn recognise(file: &File) -> Option<Pointer> {
    let bytes = file.whole().filter(|bytes| bytes.starts_with(&MAGIC))?;
    let mut paths = Vec::new();
    read(bytes, file.code_page, &mut paths);
    let mut targets: Vec<Target> = Vec::new();
    for path in paths {
        targets.extend(Target::path(path).filter(|target| !targets.contains(target)));
    }
    let mut pointer = Pointer::to("shell link", targets);
    pointer.offline = u32_at(bytes, 0x18).is_some_and(|attributes| attributes & FILE_ATTRIBUTE_OFFLINE != 0);
    // The lower 32 bits of the size. Zero if the target was not a file of a file system.
    pointer.claimed_size = u32_at(bytes, 0x34).filter(|size| *size != 0).map(u64::from);
    Some(pointer)
}

/// Reads all paths in a link. The size of each part determines where the next part begins, so
/// reading ends at a truncated part.
fn read(bytes: &[u8], code_page: &'static Encoding, paths: &mut Vec<String>) -> Option<()> {
    let mut parts = Parts { bytes, at: HEADER, code_page };
    let flags = u32_at(bytes, 0x14)?;
    let has = |flag| flags & flag != 0;
    if has(HAS_ITEM_IDS) {
        parts.item_ids()?;
    }
    if has(HAS_LINK_INFO) {
        let info = LinkInfo { bytes: parts.link_info()?, code_page };
        if !has(FORCE_NO_LINK_INFO) {
            paths.extend(info.local());
            paths.extend(info.network().into_iter().flatten());
        }
    }
    for flag in STRINGS {
        if has(flag) {
            let string = parts.string(has(IS_UNICODE))?;
            paths.extend(string.filter(|_| flag == HAS_RELATIVE_PATH));
        }
    }
    paths.extend(parts.environment());
    Some(())
}

/// The parts of a link, one after the other.
struct Parts<'a> {
    bytes: &'a [u8],
    at: usize,
    code_page: &'static Encoding,
}

impl<'a> Parts<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let part = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(part)
    }

    fn item_ids(&mut self) -> Option<&'a [u8]> {
        let length = u16_at(self.bytes, self.at)?;
        self.take(2 + usize::from(length))
    }

    fn link_info(&mut self) -> Option<&'a [u8]> {
        self.take(offset_at(self.bytes, self.at)?)
    }

    /// Reads a string with its count of characters (2.4). A string that is not valid text is
    /// skipped.
    fn string(&mut self, in_unicode: bool) -> Option<Option<String>> {
        let count = usize::from(u16_at(self.bytes, self.at)?);
        self.take(2)?;
        match in_unicode {
            true => self.take(2 * count).map(unicode),
            false => self.take(count).map(|bytes| decode(bytes, self.code_page)),
        }
    }

    /// The target in the environment block (2.5.4). The list of blocks ends with a block of less
    /// than four bytes, or at the end of the file: there are genuine links without a final block.
    fn environment(&mut self) -> Option<String> {
        const SIGNATURE: u32 = 0xA000_0001;
        const UNICODE: usize = 8 + 260;
        while let Some(size) = offset_at(self.bytes, self.at).filter(|size| *size >= 8) {
            let block = self.take(size)?;
            if u32_at(block, 4) == Some(SIGNATURE) {
                let in_unicode = terminated_unicode(block, UNICODE).filter(|path| !path.is_empty());
                let ansi = || terminated(block.get(..UNICODE)?, 8, self.code_page);
                // Variables belong to the machine that created the link.
                return in_unicode.or_else(ansi).filter(|path| !path.contains('%'));
            }
        }
        None
    }
}

/// LinkInfo (2.3). Its offsets are relative to its beginning, and refer to data within it.
struct LinkInfo<'a> {
    bytes: &'a [u8],
    code_page: &'static Encoding,
}

impl<'a> LinkInfo<'a> {
    const LOCAL: u32 = 1;
    const NETWORK: u32 = 2;

    fn has(&self, flag: u32) -> bool {
        u32_at(self.bytes, 8).is_some_and(|flags| flags & flag != 0)
    }

    /// A string in Unicode. Only a longer header contains its offset.
    fn unicode(&self, at: usize) -> Option<String> {
        offset_at(self.bytes, 4).filter(|header| *header >= 0x24)?;
        terminated_unicode(self.bytes, offset_at(self.bytes, at).filter(|offset| *offset != 0)?)
    }

    fn ansi(&self, at: usize) -> Option<String> {
        terminated(self.bytes, offset_at(self.bytes, at).filter(|offset| *offset != 0)?, self.code_page)
    }

    /// The path below a drive or a share; empty if the link points to the drive or share itself. A
    /// suffix that cannot be read is `None`, since the path without it would name a directory above
    /// the target.
    fn suffix(&self) -> Option<String> {
        match offset_at(self.bytes, 0x18)? {
            0 => Some(String::new()),
            _ => self.unicode(0x20).or_else(|| self.ansi(0x18)),
        }
    }

    /// The path with the drive that the target had on the machine that created the link.
    fn local(&self) -> Option<String> {
        let base = || self.unicode(0x1C).filter(|base| !base.is_empty()).or_else(|| self.ansi(0x10));
        if self.has(Self::LOCAL) { join(base()?, &self.suffix()?) } else { None }
    }

    /// The path with the server and its share, and the path with the drive letter to which the
    /// share was connected (CommonNetworkRelativeLink).
    fn network(&self) -> [Option<String>; 2] {
        let Some(link) = self.network_link().filter(|_| self.has(Self::NETWORK)) else { return [None, None] };
        // The offset of the name equals the size of the header, which is longer if it contains the
        // offsets of Unicode names.
        let is_longer = offset_at(link, 8).is_some_and(|name| name > 0x14);
        let name = |ansi: usize, in_unicode: usize| {
            let offset = |at| offset_at(link, at).filter(|offset| *offset != 0);
            let longer = || terminated_unicode(link, offset(in_unicode).filter(|_| is_longer)?);
            let name = longer().or_else(|| terminated(link, offset(ansi)?, self.code_page));
            join(name.filter(|name| !name.is_empty())?, &self.suffix()?)
        };
        [name(0x08, 0x14), name(0x0C, 0x18)]
    }

    fn network_link(&self) -> Option<&'a [u8]> {
        let link = self.bytes.get(offset_at(self.bytes, 0x14).filter(|offset| *offset != 0)?..)?;
        link.get(..offset_at(link, 0)?)
    }
}

/// Joins both with one separator. Without a base, there is no directory that the suffix is relative
/// to.
fn join(base: String, suffix: &str) -> Option<String> {
    match suffix {
        _ if base.is_empty() => None,
        "" => Some(base),
        _ if base.ends_with('\\') => Some(base + suffix),
        _ => Some(base + "\\" + suffix),
    }
}
