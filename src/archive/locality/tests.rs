//! File systems that a test cannot mount, as test doubles that return the replies that these file
//! systems give or are documented to give.

use std::sync::Arc;

use super::*;
use crate::archive::breaker::Limits;
use crate::archive::mount::Attributes;

/// The replies by attribute name. The file has no other attributes.
struct Replies(Vec<(&'static str, Result<Vec<u8>, i32>)>);

impl Attributes for Replies {
    fn get(&self, _: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
        match self.0.iter().find(|(asked, _)| *asked == name) {
            None => Ok(None),
            Some((_, Ok(bytes))) => Ok(Some(bytes.clone())),
            Some((_, Err(number))) => Err(io::Error::from_raw_os_error(*number)),
        }
    }
}

struct Double {
    mount: Mount,
    declared: Declared,
    is_link: bool,
    size: u64,
    blocks: Option<u64>,
}

fn double(file_system: &str, replies: Vec<(&'static str, Result<Vec<u8>, i32>)>) -> Double {
    let mount = Mount::new("/mnt/archive".into(), file_system, Arc::new(Replies(replies)), Limits::default());
    Double { mount, declared: Declared::default(), is_link: false, size: 512 * 1024, blocks: Some(1024) }
}

impl Double {
    fn tell(&self) -> Option<(&'static str, Locality, Confidence)> {
        let Double { mount, declared, is_link, size, blocks } = self;
        let (is_link, size, blocks) = (*is_link, *size, *blocks);
        let path = Path::new("/mnt/archive/2021/1.2.3");
        let stub = Facts { path, is_link, size, blocks, dos_attributes: None, mount, declared }.tell()?;
        assert!(!stub.why.is_empty() && stub.mount == Some("/mnt/archive".into()));
        Some((stub.kind, stub.locality, stub.confidence))
    }

    fn with_blocks(self, size: u64, blocks: u64) -> Self {
        Double { size, blocks: Some(blocks), ..self }
    }
}

const WITHOUT_BLOCKS: Option<(&str, Locality, Confidence)> =
    Some(("file without blocks", Locality::Nearline, Confidence::Heuristic));

#[test]
fn a_file_of_some_size_without_blocks_is_not_online() {
    let blocks = |size, blocks| double("ext4", vec![]).with_blocks(size, blocks).tell();
    assert_eq!(blocks(600_000, 0), WITHOUT_BLOCKS);
    assert_eq!(blocks(4096, 1), WITHOUT_BLOCKS, "Lustre says one");
    assert_eq!(blocks(4095, 0), None, "it may lie in its inode");
    assert_eq!(blocks(4096, 2), None);
    assert_eq!(Double { blocks: None, ..double("", vec![]) }.tell(), None, "the system does not tell");
}

#[test]
fn what_the_site_declares_counts() {
    let below = |directory: &str| vec![PathBuf::from(directory)];
    let declared = |nearline: &str, online: &str| Declared { nearline: below(nearline), online: below(online) };
    let told = |declared, blocks| Double { declared, ..double("nfs4", vec![]).with_blocks(9999, blocks) }.tell();
    let nearline = Some(("declared nearline", Locality::Nearline, Confidence::Configured));
    assert_eq!(told(declared("/mnt/archive", "/x"), 20), nearline);
    assert_eq!(told(declared("/mnt/arch", "/x"), 20), None, "another directory");
    assert_eq!(told(declared("/x", "/mnt/archive/2021"), 0), None, "blocks say nothing there");
    assert_eq!(told(declared("/x", "/mnt/archive/2020"), 0), WITHOUT_BLOCKS);
}

#[test]
fn the_attributes_of_windows_are_asked_where_they_are() {
    let offline = Some(("offline attribute of Windows", Locality::Nearline, Confidence::Proven));
    // ntfs-3g returns the attributes as big endian, and the SMB client in the byte order of this
    // machine.
    let ntfs = |file_system: &str, bits: u32| {
        double(file_system, vec![("system.ntfs_attrib_be", Ok(bits.to_be_bytes().to_vec()))]).tell()
    };
    let cifs = |file_system: &str, bits: u32| {
        double(file_system, vec![("user.cifs.dosattrib", Ok(bits.to_ne_bytes().to_vec()))]).tell()
    };
    assert_eq!(ntfs("fuseblk", 0x1020), offline);
    assert_eq!(ntfs("fuse", 0x1020), offline);
    assert_eq!(ntfs("ntfs3", 0x40_0020), offline);
    assert_eq!(ntfs("fuse", 0x20), None);
    assert_eq!(ntfs("ext4", 0x1020), None, "nobody asks there");
    assert_eq!(cifs("cifs", 0x1020), offline);
    assert_eq!(cifs("smb3", 0x40_0420), offline);
    assert_eq!(cifs("cifs", 0x4_0020), None, "extended attributes, and no recall");
    assert_eq!(cifs("cifs", 0x4_0420), offline);
}

#[test]
fn a_file_system_that_should_answer_and_does_not_is_never_online() {
    for (file_system, asked) in
        [("cifs", "user.cifs.dosattrib"), ("ntfs3", "system.ntfs_attrib_be"), ("lustre", "trusted.hsm")]
    {
        let told = double(file_system, vec![(asked, Err(5))]).tell();
        assert_eq!(told.map(|(_, locality, _)| locality), Some(Locality::Unknown), "{file_system}");
    }
    assert!(double("fuse", vec![("system.ntfs_attrib_be", Err(5))]).tell().is_some(), "it may be NTFS");
}

#[test]
fn a_reparse_point_is_no_dangling_link() {
    let told = |tag: u32| {
        let replies = vec![("system.ntfs_reparse_data", Ok([tag.to_le_bytes(), [0; 4]].concat()))];
        let link = Double { is_link: true, ..double("fuseblk", replies).with_blocks(34, 0) };
        link.tell().map(|(_, locality, _)| locality)
    };
    for tag in [0xC000_0004, 0x8000_0006, 0x9000_001A, 0x9000_F01A, 0x8000_001E, 0x9000_001C, 0x0000_1234] {
        assert_eq!(told(tag), Some(Locality::Nearline), "{tag:#x}");
    }
    assert_eq!(told(0x8000_0013), Some(Locality::Unavailable), "deduplicated: only Windows reads it");
    assert_eq!(told(0xA000_000C), None, "a symbolic link of Windows");
    let link = |file_system| Double { is_link: true, ..double(file_system, vec![]).with_blocks(34, 0) }.tell();
    assert_eq!((link("fuseblk"), link("ext4")), (None, None), "a link");
}

#[test]
fn lustre_tells_what_it_has_released() {
    let told = |flags: u32| {
        let state = [0u32.to_le_bytes(), flags.to_le_bytes(), [0; 4]].concat();
        double("lustre", vec![("trusted.hsm", Ok(state))]).tell().map(|(_, locality, _)| locality)
    };
    assert_eq!(told(0x0D), Some(Locality::Nearline), "exists, archived, released");
    assert_eq!(told(0x09), None, "archived, and still here");
    assert_eq!(told(0x4D), Some(Locality::Unavailable), "lost");
    assert_eq!(double("lustre", vec![]).with_blocks(600_000, 1).tell(), WITHOUT_BLOCKS, "without root");
}
