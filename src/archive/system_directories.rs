//! The table of directories that storage systems and operating systems create beside the files of
//! their users.
//!
//! A name may only be added if no layout of the PACS creates a directory of that name. The layouts
//! name directories by UIDs, dates, and Patient IDs. A Patient ID can be any plain word, so
//! `recycle` (Zyxel), `snapshot` (ReadyNAS) and `Recycled` (FAT) are not in the table; sites that
//! have them use `--skip-dir`.

use super::skipped_directories::DirectoryKind::{self, RecoveredFragments, RecycleBin, Snapshot, SystemData};

/// The way in which the name of a directory is compared.
#[derive(Clone, Copy)]
pub enum DirectoryName {
    Exact(&'static str),
    /// A name on systems that ignore case, or a name with characters that no Patient ID contains in
    /// either case.
    IgnoringCase(&'static str),
    Shape(fn(&str) -> bool),
}

/// The place where a name is significant.
#[derive(Clone, Copy)]
pub enum NameScope {
    Anywhere,
    /// Directly below a root, unless the directory is that of a patient. This scope is for names
    /// that may also be a Patient ID.
    BelowRoot,
}

/// A directory that a storage system or an operating system creates.
pub struct SystemDirectory {
    pub name: DirectoryName,
    pub scope: NameScope,
    pub kind: DirectoryKind,
    /// Vendor and product.
    pub source: &'static str,
}

const fn named(name: &'static str, kind: DirectoryKind, source: &'static str) -> SystemDirectory {
    SystemDirectory { name: DirectoryName::IgnoringCase(name), scope: NameScope::Anywhere, kind, source }
}

const fn plain_word(name: &'static str, kind: DirectoryKind, source: &'static str) -> SystemDirectory {
    SystemDirectory { name: DirectoryName::Exact(name), scope: NameScope::BelowRoot, kind, source }
}

/// An entry for a name that may also be a Patient ID, on a system that ignores case.
const fn top_level(name: &'static str, kind: DirectoryKind, source: &'static str) -> SystemDirectory {
    SystemDirectory { name: DirectoryName::IgnoringCase(name), scope: NameScope::BelowRoot, kind, source }
}

const fn shaped(shape: fn(&str) -> bool, kind: DirectoryKind, source: &'static str) -> SystemDirectory {
    SystemDirectory { name: DirectoryName::Shape(shape), scope: NameScope::Anywhere, kind, source }
}

pub const SYSTEM_DIRECTORIES: &[SystemDirectory] = &[
    named("@Recycle", RecycleBin, "QNAP QTS, network recycle bin"),
    named("@Recently-Snapshot", Snapshot, "QNAP QTS, snapshot directory of a share"),
    named("@Snapshot", Snapshot, "QNAP QuTS hero, snapshot directory of a share"),
    named(".@__thumb", SystemData, "QNAP QTS, thumbnails"),
    named(".@upload_cache", SystemData, "QNAP QTS, unfinished uploads"),
    named(".@qmariadb", SystemData, "QNAP QTS, database"),
    named(".qsync", SystemData, "QNAP Qsync, synchronisation"),
    named("#recycle", RecycleBin, "Synology DSM and TerraMaster TOS, recycle bin of a share"),
    named("#snapshot", Snapshot, "Synology DSM, snapshot directory of a share"),
    named("@sharesnap", Snapshot, "Synology DSM, snapshots of shares"),
    named("@eaDir", SystemData, "Synology DSM, thumbnails and attributes"),
    named("@tmp", SystemData, "Synology DSM, temporary files"),
    named("@SynoResource", SystemData, "Synology DSM, attributes"),
    named(".SynologyWorkingDirectory", SystemData, "Synology Drive, synchronisation"),
    named(".recycle", RecycleBin, "Samba vfs_recycle (TrueNAS, openmediavault, and others)"),
    named(".Recycle.Bin", RecycleBin, "Unraid, recycle bin"),
    named("_NAS_Recycle_RAID", RecycleBin, "Thecus, recycle bin"),
    plain_word("trashbox", RecycleBin, "Buffalo LinkStation and TeraStation, trash"),
    plain_word("Recycle Bin", RecycleBin, "Netgear ReadyNAS, recycle bin of a share"),
    named(".trash", RecycleBin, "freedesktop.org trash of a shared volume, HDFS, JuiceFS"),
    shaped(is_trash_of_a_user, RecycleBin, "freedesktop.org trash of a user"),
    named("$RECYCLE.BIN", RecycleBin, "Windows, recycle bin of a volume"),
    plain_word("RECYCLER", RecycleBin, "Windows NT to 2003, recycle bin of an NTFS volume"),
    named("System Volume Information", SystemData, "Windows, shadow copies and indexes of a volume"),
    named("$Extend", SystemData, "Windows, metadata of NTFS"),
    named("DfsrPrivate", SystemData, "Windows DFS Replication, conflicts and deleted files"),
    SystemDirectory {
        name: DirectoryName::Shape(is_found_by_chkdsk),
        scope: NameScope::BelowRoot,
        kind: RecoveredFragments,
        source: "Windows CHKDSK, at the top of a volume",
    },
    shaped(is_previous_version, Snapshot, "Windows and Samba, previous version of a share"),
    named("~snapshot", Snapshot, "NetApp ONTAP and Hitachi NAS over SMB, snapshot directory"),
    named(".snapshot", Snapshot, "NetApp ONTAP, Dell Isilon, Qumulo, Pure FlashBlade, VAST, snapshot directory"),
    named(".snaps", Snapshot, "GlusterFS, snapshot directory of a volume"),
    named(".snapshots", Snapshot, "snapper (btrfs), IBM Storage Scale (GPFS), Dell FluidFS, WEKA, snapshot directory"),
    named(".ckpt", Snapshot, "Dell EMC Celerra and VNX, checkpoints"),
    named(".snap", Snapshot, "CephFS and FreeBSD UFS, snapshot directory"),
    named(".zfs", Snapshot, "ZFS, control directory"),
    named("lost+found", RecoveredFragments, "fsck of ext4, XFS and others"),
    named(".trashcan", RecycleBin, "GlusterFS, trash translator"),
    named(".glusterfs", SystemData, "GlusterFS, metadata of a brick"),
    named(".SpaceMan", SystemData, "IBM Storage Protect for Space Management, metadata"),
    named(".mmSharedTmpDir", SystemData, "IBM Storage Scale (GPFS), temporary files"),
    named(".ADIC_INTERNAL_DO_NOT_USE", SystemData, "Quantum StorNext, metadata"),
    top_level("DELETED.SAV", RecycleBin, "Novell NetWare, salvageable files at the top of a volume"),
    named(".Trashes", RecycleBin, "macOS, trash of a volume"),
    plain_word("Network Trash Folder", RecycleBin, "Mac OS and Netatalk, trash of a share"),
    named(".TemporaryItems", SystemData, "macOS, temporary files"),
    named(".DocumentRevisions-V100", Snapshot, "macOS, document versions"),
    named(".MobileBackups", Snapshot, "macOS Time Machine, local snapshots"),
    named(".MobileBackups.trash", RecycleBin, "macOS Time Machine, local snapshots"),
    named(".Spotlight-V100", SystemData, "macOS, search index"),
    named(".fseventsd", SystemData, "macOS, event log"),
    named(".AppleDouble", SystemData, "Netatalk, resource forks"),
    named(".AppleDB", SystemData, "Netatalk, database"),
    named(".stversions", Snapshot, "Syncthing, old and deleted versions"),
    named(".sync", Snapshot, "Resilio Sync, old and deleted versions"),
    named(".dropbox.cache", SystemData, "Dropbox, deleted files and cache"),
];

/// Whether a name has the form `.Trash-1000`, or `.Trash-alice` of desktops that are older than the
/// specification.
fn is_trash_of_a_user(name: &str) -> bool {
    name.strip_prefix(".Trash-").is_some_and(|user| !user.is_empty())
}

/// Whether a name has the form `FOUND.000`.
fn is_found_by_chkdsk(name: &str) -> bool {
    let number = name.split_at_checked(6).filter(|(found, _)| found.eq_ignore_ascii_case("FOUND."));
    number.is_some_and(|(_, number)| number.len() == 3 && are_digits(number))
}

/// Whether a name has the form `@GMT-2021.11.12-10.00.00` (MS-SMB2, 2.2.32.2).
fn is_previous_version(name: &str) -> bool {
    const SHAPE: &str = "@GMT-0000.00.00-00.00.00";
    let fits = |(c, shape): (u8, u8)| if shape == b'0' { c.is_ascii_digit() } else { c.eq_ignore_ascii_case(&shape) };
    name.len() == SHAPE.len() && name.bytes().zip(SHAPE.bytes()).all(fits)
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
