//! Resolves a file that the walk has found to the place of its bytes. Links and pointers are
//! followed to a file that may be read, or to a stub that may not.
//!
//! Nothing is followed out of the roots and the directories of `--target-root`: a link may point
//! anywhere.

use std::borrow::Cow;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use super::file::{FileState, FoundFile, Location, not_a_file};
use super::locality::{Declared, Facts, Locality, Stub};
use super::mount::Mounts;
use super::pointer_rule::PointerRule;
use super::recall::{Permit, Policy};
use super::skipped_directories::SkipReason;
use super::stub::{self, Pointer, Target};
use super::targets::{Targets, There};
use super::{OpenFile, PathMap, Roots, SkippedDirectories, breaker, real_path};

/// The path that the index stores for a file that was reached by a link or a pointer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamedBy {
    /// The path that a plain `open` can follow: that of a symbolic link, and the target of a
    /// pointer.
    #[default]
    Opening,
    Link,
    Target,
}

impl NamedBy {
    /// Whether the index names the target of a pointer, or of a symbolic link.
    pub fn is_target(self, by_pointer: bool) -> bool {
        match self {
            NamedBy::Opening => by_pointer,
            NamedBy::Link => false,
            NamedBy::Target => true,
        }
    }
}

/// The settings of a site for stubs and skipped directories.
#[derive(Default)]
pub struct Rules {
    pub skipped: SkippedDirectories,
    pub policy: Policy,
    pub declared: Declared,
    /// Directories beside the roots that links and pointers may point to.
    pub target_roots: Vec<PathBuf>,
    pub pointer_rules: Vec<PointerRule>,
    pub named_by: NamedBy,
    pub limits: breaker::Limits,
}

impl Rules {
    /// Whether a file that exists, or would be created, is below a directory of `--target-root`.
    pub fn hold(&self, file: &Path) -> bool {
        let roots = self.target_roots.iter().filter_map(|root| root.canonicalize().ok());
        real_path::is_within(file, &Vec::from_iter(roots))
    }
}

pub struct Locator {
    pub mounts: Mounts,
    targets: Targets,
    rules: Rules,
}

/// The result of inspecting a path, and the state that the catalogue records of it.
pub struct Seen<'a> {
    pub state: FileState,
    pub standing: Standing<'a>,
}

impl Seen<'_> {
    /// Whether a symbolic link was followed to a readable file.
    pub fn leads_on(&self) -> bool {
        matches!(&self.standing, Standing::Readable(location) if location.target.is_some())
    }
}

pub enum Standing<'a> {
    /// The file may be read.
    Readable(Location<'a>),
    /// The file may not be read.
    Stub(Stub),
    /// The link points to a file below the roots, which the walk finds there.
    MetElsewhere(Stub),
}

const SYMBOLIC_LINK: &str = "symbolic link";

impl Locator {
    pub fn new(roots: &Roots, path_map: &PathMap, rules: Rules) -> Self {
        let targets = Targets::new(roots, path_map, rules.skipped.clone(), &rules.target_roots);
        Locator { mounts: Mounts::new(rules.limits), targets, rules }
    }

    /// The directories that a walk of these roots does not enter.
    pub fn skipped_directories(&self) -> &SkippedDirectories {
        &self.rules.skipped
    }

    /// The reason why no walk reaches a file, if the file is in a skipped directory.
    pub fn skip_reason(&self, path: &Path) -> Option<SkipReason> {
        self.targets.skip_reason(path)
    }

    /// The reason why no walk reaches a file, if a link in its path points into a skipped
    /// directory.
    pub fn skip_reason_behind_links(&self, path: &Path) -> Option<SkipReason> {
        self.targets.skip_reason_resolved(&path.parent()?.canonicalize().ok()?)
    }

    pub fn policy(&self) -> &Policy {
        &self.rules.policy
    }

    /// The directories of `--target-root`.
    pub fn target_roots(&self) -> &[PathBuf] {
        &self.rules.target_roots
    }

    pub fn named_by(&self) -> NamedBy {
        self.rules.named_by
    }

    /// The root, or the directory of `--target-root`, that contains a path, and its position among
    /// all of them.
    pub fn place(&self, path: &Path) -> Option<(usize, &Path)> {
        self.targets.place(path)
    }

    /// Whether a path is below a root or a directory of `--target-root`, both as text and after its
    /// links are resolved.
    pub fn holds(&self, file: &Path) -> bool {
        self.targets.hold(file)
    }

    /// The directory of `--target-root` of a missing file, if no file is below that directory: its
    /// mount may be missing.
    pub fn empty_target_root(&self, file: &Path) -> Option<&Path> {
        self.targets.empty_directory_of(file)
    }

    /// The file that a row names, if the file is below a root or a directory of `--target-root`.
    pub fn file_of_row(&self, stored: &str) -> Option<PathBuf> {
        self.targets.file_of_row(stored)
    }

    /// The path that the index stores for a file, if that path names the same file: a file name of
    /// this system may contain a separator of the PACS server. Compares texts only.
    pub fn stored_path(&self, file: &Path) -> Option<String> {
        self.targets.stored_path(file)
    }

    /// Whether a pointer rule of the site applies to files of this name.
    pub fn has_rule_for(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        self.rules.pointer_rules.iter().any(|rule| rule.is_about(name))
    }

    /// Inspects a file, without opening it.
    pub fn look<'a>(&self, file: &'a FoundFile) -> io::Result<Seen<'a>> {
        let path = file.path();
        let metadata = path.symlink_metadata()?;
        if metadata.is_file() {
            return Ok(self.regular(path.into(), &metadata, file.permit()));
        }
        if !metadata.is_symlink() {
            return Err(not_a_file());
        }
        let state = FileState::of(&metadata);
        let mount = self.mounts.of(path, &metadata);
        if let Some(stub) = Facts::of(&self.targets.resolved(path), &metadata, &mount, &self.rules.declared).tell() {
            return Ok(Seen { state, standing: Standing::Stub(stub) });
        }
        let text = std::fs::read_link(path)?;
        let there = self.targets.of_link(path, &text);
        let text = text.to_string_lossy().into_owned();
        let way = Way { kind: SYMBOLIC_LINK, text, claimed_size: None, offline: false };
        Ok(self.at(&way, there, file.permit(), state))
    }

    /// Whether a target is unchanged, or cannot be inspected. The target is not opened.
    pub fn is_still(&self, target: &Path, state: FileState) -> bool {
        target.metadata().map_or(true, |now| FileState::of(&now) == state)
    }

    fn regular<'a>(&self, path: Cow<'a, Path>, metadata: &Metadata, permit: Option<&Permit>) -> Seen<'a> {
        let mount = self.mounts.of(&path, metadata);
        let state = FileState::of(metadata);
        // Only the declared offline directories depend on the path.
        let named = if self.rules.declared.is_empty() { Cow::Borrowed(&*path) } else { self.targets.resolved(&path) };
        let standing = match Facts::of(&named, metadata, &mount, &self.rules.declared).tell() {
            Some(stub) if permit.is_none() || !stub.can_be_recalled() => Standing::Stub(stub),
            told => {
                let mut location = Location::new(path, metadata, mount, told.is_some());
                location.through = told.map(Box::new);
                Standing::Readable(location)
            }
        };
        Seen { state, standing }
    }

    /// Returns the pointer that a file without DICOM contains, if it contains one.
    pub fn pointer(&self, path: &Path, open: &OpenFile) -> io::Result<Option<Pointer>> {
        let name = path.file_name().unwrap_or_default();
        let head = open.head(stub::MOST)?;
        let by_rule = || self.rules.pointer_rules.iter().find_map(|rule| rule.recognise(&head, open.state.size, name));
        Ok(by_rule().or_else(|| stub::recognise(&head, open.state.size, name)))
    }

    /// Follows a pointer found at `at` to the first of its targets that exists, or else to the stub
    /// of the target that is nearest.
    ///
    /// A permit covers one stub: the target of a recalled pointer needs its own.
    pub fn follow<'a>(&self, pointer: &Pointer, at: &Path, permit: Option<&Permit>, state: FileState) -> Seen<'a> {
        let kind = pointer.kind;
        let mut nearest: Option<(u8, Seen)> = None;
        for target in &pointer.targets {
            let way = Way { kind, text: target.text(), claimed_size: pointer.claimed_size, offline: pointer.offline };
            let there = match target {
                Target::Path(path) => self.targets.of_pointer(at, path),
                Target::Address(_) => Err((Locality::Offline, "an address is never fetched".into())),
                Target::Key { .. } => Err((Locality::Offline, "its store is not looked into".into())),
            };
            let seen = self.at(&way, there, permit, state);
            match &seen.standing {
                Standing::Stub(stub) => {
                    let distance = stub.locality.distance();
                    if nearest.as_ref().is_none_or(|(other, _)| distance < *other) {
                        nearest = Some((distance, seen));
                    }
                }
                Standing::Readable(_) | Standing::MetElsewhere(_) => return seen,
            }
        }
        nearest.map(|(_, seen)| seen).unwrap_or_else(|| {
            let locality = if pointer.is_container { Locality::Online } else { Locality::Offline };
            let why = if pointer.is_container { "its contents are not read" } else { "it names no file" };
            let way = Way { kind, text: String::new(), claimed_size: None, offline: false };
            let size = pointer.claimed_size.or(pointer.is_container.then_some(state.size));
            Seen { state, standing: Standing::Stub(Stub { claimed_size: size, ..way.stub(locality, why.into()) }) }
        })
    }

    /// Inspects the target of a link or pointer. The state is that of the target, unless the target
    /// is a pointer itself, which would have to be read first.
    fn at<'a>(
        &self,
        way: &Way,
        there: Result<There, (Locality, String)>,
        permit: Option<&Permit>,
        own: FileState,
    ) -> Seen<'a> {
        let is_link = way.kind == SYMBOLIC_LINK;
        let stub = |locality, why| Seen { state: own, standing: Standing::Stub(way.stub(locality, why)) };
        let There { named, resolved } = match there {
            Ok(there) => there,
            Err((locality, why)) => return stub(locality, why),
        };
        let metadata = match resolved.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) => return stub(Locality::Unknown, error.to_string()),
        };
        if self.targets.are_walked(&resolved) {
            let met = way.stub(Locality::Online, "its target is indexed in its own place".into());
            return Seen { state: own, standing: Standing::MetElsewhere(met) };
        }
        let directory = if metadata.is_dir() { Some(&*resolved) } else { resolved.parent() };
        let skipped = directory.filter(|_| !self.targets.allow(&resolved));
        if let Some(reason) = skipped.and_then(|directory| self.targets.skip_reason_resolved(directory)) {
            return stub(Locality::Unknown, format!("points into a directory that is not searched ({reason})"));
        }
        if metadata.is_dir() {
            return stub(
                Locality::Unknown,
                "points to a directory, which is not followed: name the directory as a root".into(),
            );
        }
        if !metadata.is_file() {
            return stub(Locality::Unavailable, "does not point to a regular file".into());
        }
        if !self.targets.allow(&resolved) {
            let why = "points out of the roots: if it may be read there, name its directory with --target-root";
            return stub(Locality::Unknown, why.into());
        }
        if named.to_str().is_none() && self.rules.named_by.is_target(!is_link) {
            return stub(Locality::Unknown, "the path of its target is not valid UTF-8".into());
        }
        if self.rules.policy.leaves_targets() {
            let seen = stub(Locality::Unknown, "targets are not read while --recall is never".into());
            return Seen { state: if is_link { FileState::of(&metadata) } else { own }, ..seen };
        }
        let mut seen = self.regular(resolved.into(), &metadata, permit);
        match &mut seen.standing {
            Standing::Readable(location) => {
                let recalled = location.through.take();
                let locality = recalled.as_ref().map_or(Locality::Online, |stub| stub.locality);
                let why = recalled.map_or(String::new(), |stub| format!("its target: {}: {}", stub.kind, stub.why));
                location.through = Some(Box::new(way.stub(locality, why)));
                location.target = Some(named);
            }
            Standing::Stub(target) => {
                let why = format!("its target: {}: {}", target.kind, target.why);
                let Stub { confidence, claimed_size, mount, .. } = target.clone();
                *target = Stub { confidence, claimed_size, mount, ..way.stub(target.locality, why) };
            }
            Standing::MetElsewhere(_) => {}
        }
        Seen { state: if is_link { seen.state } else { own }, ..seen }
    }
}

/// A link or pointer that is followed to a file.
struct Way {
    kind: &'static str,
    text: String,
    claimed_size: Option<u64>,
    offline: bool,
}

impl Way {
    fn stub(&self, locality: Locality, why: String) -> Stub {
        // The pointer declares the target offline, and the target cannot be inspected here.
        let locality = if self.offline && locality == Locality::Unknown { Locality::Nearline } else { locality };
        Stub {
            target: Some(self.text.clone()).filter(|text| !text.is_empty()),
            claimed_size: self.claimed_size,
            ..Stub::proven(self.kind, locality, why)
        }
    }
}
