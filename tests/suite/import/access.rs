//! Permissions of copied files: readable by the same users as the rest of the archive, and by no
//! others.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use super::{import, importing, medium, site_and_index};
use crate::support::{Said, Site, walk};

fn is_root() -> bool {
    unsafe { libc::geteuid() == 0 }
}

/// Returns owner, group and mode.
fn access(path: &Path) -> (u32, u32, u32) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
}

fn set(path: &Path, (owner, group, mode): (u32, u32, u32)) {
    if is_root() {
        chown(path, Some(owner), Some(group)).unwrap();
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Files and directories of a PACS that has its own account.
fn archive_of_a_pacs(site: &Site, file: u32, directory: u32) {
    for day in ["2021-11-12-FRI", "2021-11-13-SAT"] {
        site.add_series(day, 1, 1, 3);
        let day = site.archive().join(day);
        walk(&day).iter().for_each(|path| set(path, (1234, 2345, file)));
        set(&day, (1234, 2345, directory));
    }
    set(&site.archive(), (1234, 2345, 0o755));
}

fn copies(site: &Site) -> Vec<std::path::PathBuf> {
    walk(&site.archive()).into_iter().filter(|path| !path.to_string_lossy().contains("2021-11-1")).collect()
}

#[test]
fn copies_belong_to_the_pacs_and_have_the_mode_of_its_files() {
    if !is_root() {
        println!("*** Only root gives files to others: this test DID NOT RUN ***");
        return;
    }
    for (file, directory) in [(0o640, 0o750), (0o600, 0o700), (0o644, 0o755), (0o664, 0o2775), (0o660, 0o770)] {
        for layout in ["flat", "hierarchical", "combination"] {
            let (site, index) = site_and_index();
            archive_of_a_pacs(&site, file, directory);
            medium(&site, 4);
            let said = import(&site, "cd", &index, &["--layout", layout]).exits(0);
            let copies = copies(&site);
            assert_eq!(copies.len(), 4, "{}", said.out);
            for copy in copies {
                assert_eq!(access(&copy), (1234, 2345, file), "{layout}: {}", copy.display());
                let above = copy.ancestors().skip(1).take_while(|above| *above != site.archive());
                for above in above {
                    assert_eq!(access(above), (1234, 2345, directory), "{layout}: {}", above.display());
                }
            }
            assert_eq!(access(&site.archive()), (1234, 2345, 0o755), "the archive itself is left alone");
        }
    }
}

#[test]
fn one_odd_file_does_not_decide_the_access_to_copies() {
    if !is_root() {
        println!("*** Only root gives files to others: this test DID NOT RUN ***");
        return;
    }
    let (site, index) = site_and_index();
    archive_of_a_pacs(&site, 0o640, 0o750);
    // The newest day comes from an import that root ran.
    site.add_series("2021-11-14-SUN", 7, 1, 1);
    medium(&site, 2);
    import(&site, "cd", &index, &[]).exits(0);
    for copy in copies(&site) {
        assert_eq!(access(&copy), (1234, 2345, 0o640));
    }
}

#[test]
fn an_archive_without_files_lends_its_own_access() {
    let (site, index) = site_and_index();
    set(&site.archive(), (1234, 2345, 0o750));
    medium(&site, 2);
    import(&site, "cd", &index, &[]).exits(0);
    let owner = if is_root() { (1234, 2345) } else { (access(&site.archive()).0, access(&site.archive()).1) };
    for copy in walk(&site.archive()) {
        assert_eq!(access(&copy), (owner.0, owner.1, 0o640));
        assert_eq!(access(copy.parent().unwrap()), (owner.0, owner.1, 0o750));
    }
}

#[test]
fn what_cannot_be_given_to_the_pacs_is_reported_and_kept_private() {
    if !is_root() {
        println!("*** Only root gives files to others: this test DID NOT RUN ***");
        return;
    }
    let (site, index) = site_and_index();
    archive_of_a_pacs(&site, 0o640, 0o750);
    set(&site.archive(), (1234, 2345, 0o777));
    medium(&site, 2);
    let command = importing(&site, "cd", &index, &["--state", "state"]);
    let said = Said::of(site.program_as_nobody(&[]).args(command.get_args()));
    println!("{}{}", said.out, said.err);
    assert_eq!(said.exit, 1, "{}{}", said.out, said.err);
    assert!(said.out.contains("owner") && said.out.contains("1234"), "{}", said.out);
    let copies = copies(&site);
    assert_eq!(copies.len(), 2);
    for copy in copies {
        let (_, group, mode) = access(&copy);
        assert_eq!((group, mode), (65534, 0o600), "the group of the archive could read it, another one must not");
    }
}

#[test]
fn what_everybody_may_read_is_no_finding_where_the_owner_is_another() {
    if !is_root() {
        println!("*** Only root gives files to others: this test DID NOT RUN ***");
        return;
    }
    let (site, index) = site_and_index();
    archive_of_a_pacs(&site, 0o644, 0o755);
    set(&site.archive(), (1234, 2345, 0o777));
    medium(&site, 2);
    let command = importing(&site, "cd", &index, &["--state", "state"]);
    let said = Said::of(site.program_as_nobody(&[]).args(command.get_args()));
    assert_eq!(said.exit, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("1234"), "{}", said.out);
    copies(&site).iter().for_each(|copy| assert_eq!(access(copy).2, 0o644));
}
