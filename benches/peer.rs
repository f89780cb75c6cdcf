//! The way of a database administrator without this program: dicomtocsv of vtk-dicom-tools writes a
//! table of the attributes, one line per image, and LOAD DATA loads it into a table with keys.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dicom_core::Tag;
use pacs_index::dicom::ATTRIBUTES;
use url::Url;

use crate::Run;
use crate::measure::Cost;
use crate::support::{Index, PASSWORD, Site};

const SOP_INSTANCE_UID: Tag = Tag(0x0008, 0x0018);
const SERIES_INSTANCE_UID: Tag = Tag(0x0020, 0x000E);

pub struct Peer {
    server: Url,
    csv: PathBuf,
    /// The attributes for which the index has columns, except those inside sequences.
    tags: Vec<Tag>,
}

impl Peer {
    /// Returns `None` and prints a message if a program is missing.
    pub fn find(site: &Site, server: &str) -> Option<Self> {
        for (program, package) in [("dicomtocsv", "vtk-dicom-tools"), ("mariadb", "mariadb-client-core")] {
            if Command::new(program).arg("--version").output().is_err() {
                println!("*** {program} is missing (Debian: {package}): the lines of the peer are LEFT OUT. ***");
                return None;
            }
        }
        let mut tags: Vec<Tag> = ATTRIBUTES.iter().filter(|a| a.within.is_none()).map(|a| a.tag).collect();
        tags.sort();
        tags.dedup();
        println!("the peer reads {} attributes", tags.len());
        Some(Peer { server: server.parse().expect("a URL"), csv: site.path("peer.csv"), tags })
    }

    pub fn read(&self, store: &Path) -> Run {
        let _ = std::fs::remove_file(&self.csv);
        let mut command = Command::new("dicomtocsv");
        command.args(["--image", "--silent", "--ignore-dicomdir", "-o"]).arg(&self.csv);
        for Tag(group, element) in &self.tags {
            command.args(["-k", &format!("{group:04X},{element:04X}")]);
        }
        let (cost, exit) = Cost::of_program(command.arg(store).stdout(Stdio::null()));
        assert_eq!(exit, Some(0), "{command:?}");
        Run { cost, images: None }
    }

    /// Loads the table into an empty table of a new database.
    pub fn load(&self) -> Run {
        let index = Index::empty_on(self.server.as_str());
        index.execute(&self.table());
        let load = format!(
            "LOAD DATA LOCAL INFILE '{}' INTO TABLE image CHARACTER SET utf8mb4 \
             FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' LINES TERMINATED BY '\\r\\n' IGNORE 1 LINES",
            self.csv.display()
        );
        let mut command = Command::new("mariadb");
        let (host, port) = (self.server.host_str().unwrap_or_default(), self.server.port().unwrap_or(3306).to_string());
        command.args(["--no-defaults", "--protocol=tcp", "--host", host, "--port", &port, "--local-infile=1"]);
        command.args(["--user", self.server.username(), "--execute", &load, index.name()]).env("MYSQL_PWD", PASSWORD);
        let (cost, exit) = Cost::of_program(command.stdout(Stdio::null()));
        assert_eq!(exit, Some(0), "{command:?}");
        Run { cost, images: Some(index.count("image")) }
    }

    fn table(&self) -> String {
        let column = |tag: &Tag| match *tag {
            SOP_INSTANCE_UID => format!("`{tag}` VARCHAR(64) CHARACTER SET ascii PRIMARY KEY"),
            SERIES_INSTANCE_UID => format!("`{tag}` VARCHAR(64) CHARACTER SET ascii, KEY series (`{tag}`)"),
            tag => format!("`{tag}` TEXT"),
        };
        let columns: Vec<String> = self.tags.iter().map(column).collect();
        format!("CREATE TABLE image ({}) ENGINE=InnoDB CHARACTER SET utf8mb4", columns.join(", "))
    }
}
