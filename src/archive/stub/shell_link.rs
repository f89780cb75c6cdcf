//! Shell links of Windows (MS-SHLLINK), by their magic bytes: a storage system may leave them under the name of the
//! instance, without `.lnk`.
//!
//! A link names its target up to six times. LinkInfo comes first, with a drive and with a server, then the path from
//! the link's own directory, which survives that the archive was moved as a whole, then the environment block. The item
//! identifiers are those of the machine that made the link, and are passed over.

use encoding_rs::Encoding;

use super::bytes::{decode, offset_at, terminated, terminated_unicode, u16_at, u32_at, unicode};
use super::{File, Pointer, Target};

/// The size of the header, and the class identifier of shell links.
const MAGIC: [u8; 20] = *b"\x4C\0\0\0\x01\x14\x02\0\0\0\0\0\xC0\0\0\0\0\0\0\x46";
const HEADER: usize = 0x4C;

const HAS_ITEM_IDS: u32 = 0x1;
const HAS_LINK_INFO: u32 = 0x2;
const HAS_RELATIVE_PATH: u32 = 0x8;
/// Name, relative path, working directory, arguments, location of the icon: in this order.
const STRINGS: [u32; 5] = [0x4, HAS_RELATIVE_PATH, 0x10, 0x20, 0x40];
const IS_UNICODE: u32 = 0x80;
/// LinkInfo stands there, and is not to be used.
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
    // Its lower 32 bits, and zero where the target was no file of a file system.
    pointer.claimed_size = u32_at(bytes, 0x34).filter(|size| *size != 0).map(u64::from);
    Some(pointer)
}

/// All paths that a link tells. Each part says where the next one begins, so behind one that is cut there is nothing to
/// look for.
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

/// The parts of a link, one behind the other.
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

    /// A counted string (2.4); what is counted are characters. One that is no text is passed over.
    fn string(&mut self, in_unicode: bool) -> Option<Option<String>> {
        let count = usize::from(u16_at(self.bytes, self.at)?);
        self.take(2)?;
        match in_unicode {
            true => self.take(2 * count).map(unicode),
            false => self.take(count).map(|bytes| decode(bytes, self.code_page)),
        }
    }

    /// The target in the environment block (2.5.4). Blocks end with one of less than four bytes, or with the file:
    /// there are genuine links without that end.
    fn environment(&mut self) -> Option<String> {
        const SIGNATURE: u32 = 0xA000_0001;
        const UNICODE: usize = 8 + 260;
        while let Some(size) = offset_at(self.bytes, self.at).filter(|size| *size >= 8) {
            let block = self.take(size)?;
            if u32_at(block, 4) == Some(SIGNATURE) {
                let in_unicode = terminated_unicode(block, UNICODE).filter(|path| !path.is_empty());
                let ansi = || terminated(block.get(..UNICODE)?, 8, self.code_page);
                // Variables are those of the machine that made the link.
                return in_unicode.or_else(ansi).filter(|path| !path.contains('%'));
            }
        }
        None
    }
}

/// LinkInfo (2.3). Its offsets count from its beginning, and what they name ends within it.
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

    /// A string in Unicode, whose offset stands only in a longer header.
    fn unicode(&self, at: usize) -> Option<String> {
        offset_at(self.bytes, 4).filter(|header| *header >= 0x24)?;
        terminated_unicode(self.bytes, offset_at(self.bytes, at).filter(|offset| *offset != 0)?)
    }

    fn ansi(&self, at: usize) -> Option<String> {
        terminated(self.bytes, offset_at(self.bytes, at).filter(|offset| *offset != 0)?, self.code_page)
    }

    /// What comes behind a drive or a share: none where the link leads to these. A suffix that cannot be read makes the
    /// path that of a directory above.
    fn suffix(&self) -> Option<String> {
        match offset_at(self.bytes, 0x18)? {
            0 => Some(String::new()),
            _ => self.unicode(0x20).or_else(|| self.ansi(0x18)),
        }
    }

    /// With the drive that the target had on the machine that made the link.
    fn local(&self) -> Option<String> {
        let base = || self.unicode(0x1C).filter(|base| !base.is_empty()).or_else(|| self.ansi(0x10));
        if self.has(Self::LOCAL) { join(base()?, &self.suffix()?) } else { None }
    }

    /// With the server and its share, and with the drive that these were connected as (CommonNetworkRelativeLink).
    fn network(&self) -> [Option<String>; 2] {
        let Some(link) = self.network_link().filter(|_| self.has(Self::NETWORK)) else { return [None, None] };
        // The offset of the name is that of the end of the header, which is longer where there is Unicode.
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

/// One separator between both. Without a base there is nothing that the suffix could be looked for below.
fn join(base: String, suffix: &str) -> Option<String> {
    match suffix {
        _ if base.is_empty() => None,
        "" => Some(base),
        _ if base.ends_with('\\') => Some(base + suffix),
        _ => Some(base + "\\" + suffix),
    }
}
