//! The number of statements that the server prepares and closes for a run. The driver closes a
//! statement with a packet that has no answer, and the next packet then waits for a delayed
//! acknowledgement: 40 ms over TCP.

use serde_json::{Value as Json, json};

use crate::support::{Index, PASSWORD, ROOT_UID, Said, Server, Site, beyond};

/// Attributes of patients, studies and series. Which of them differ between two files of a study
/// depends on the study.
const ATTRIBUTES: [&str; 12] = [
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "SeriesDescription",
    "ProtocolName",
    "BodyPartExamined",
    "StationName",
    "InstitutionName",
    "OperatorsName",
    "PatientComments",
    "PatientSize",
];

/// The maximum number of statements that a command prepares on all of its connections, a few dozen
/// on each. The number must not grow with the number of files.
const PREPARED: u64 = 80;

/// Studies of three files each, no two of which disagree on the same attributes.
fn site_that_disagrees(studies: u32) -> Site {
    let site = Site::new();
    for study in 0..studies {
        for n in 0..3 {
            let uid = format!("{ROOT_UID}.{study}.1.{n}");
            let mut change = json!({
                "PatientID": format!("T{study}"), "StudyInstanceUID": format!("{ROOT_UID}.{study}"),
                "SeriesInstanceUID": format!("{ROOT_UID}.{study}.1"), "SOPInstanceUID": uid,
            });
            for (bit, attribute) in ATTRIBUTES.into_iter().enumerate() {
                let differs = study.wrapping_mul(2_654_435_761) >> (bit + 8) & 1 == 1;
                change[attribute] = value(attribute, if differs { 2 - n } else { 0 });
            }
            site.add(&format!("2021-11-{:02}-FRI/{uid}", 10 + study % 15), change);
        }
    }
    site
}

fn value(attribute: &str, n: u32) -> Json {
    match attribute {
        "PatientSize" => format!("1.{n}").into(),
        _ => format!("text {n}").into(),
    }
}

/// Returns the numbers of statements that the server has prepared and closed so far.
fn prepared_and_closed(index: &Index) -> [u64; 2] {
    ["Com_stmt_prepare", "Com_stmt_close"].map(|name| {
        let row = index.rows(&format!("SHOW GLOBAL STATUS LIKE '{name}'")).remove(0);
        row.split_once('|').unwrap().1.parse().unwrap()
    })
}

/// Runs a command and checks that the server closed no statement for the command and prepared few.
#[track_caller]
fn closes_none(index: &Index, what: &str, run: impl FnOnce() -> Said) -> Said {
    let before = prepared_and_closed(index);
    let said = run();
    let [prepared, closed] = prepared_and_closed(index);
    let (prepared, closed) = (prepared - before[0], closed - before[1]);
    println!("{what}: {prepared} prepared, {closed} closed");
    assert!(
        closed == 0 && prepared <= PREPARED,
        "{what}: {prepared} statements prepared, {closed} closed\n{}\n{}",
        said.out,
        said.err
    );
    said
}

fn run(site: &Site, index: &Index, arguments: &[&str]) -> Said {
    let mut command = site.program(arguments);
    Said::of(command.args(["--index", &index.url]).env("PACS_INDEX_PASSWORD", PASSWORD))
}

#[test]
fn no_statement_is_closed_however_many_sets_of_columns_change() {
    const STUDIES: u32 = 300;
    let (server, site) = (Server::start(), site_that_disagrees(STUDIES));
    let index = Index::mariadb_on(&server.url, &site);
    let threads = ["--io-threads", "2"];
    let said = closes_none(&index, "reindex", || site.reindex(&index, &threads)).exits(0);
    assert_eq!(said.figure("inserted"), u64::from(STUDIES) * 3);
    let dump = index.dump();
    let sqlite = site.sqlite();
    site.run(&["init", "--index", &sqlite.url]).exits(0);
    site.reindex(&sqlite, &["--force"]).exits(0);
    let texts = |index: &Index| {
        let columns = "uuid, description, accessionnum, referringphysician, id";
        index.rows(&format!("SELECT {columns} FROM study ORDER BY uuid"))
    };
    assert_eq!(texts(&index), texts(&sqlite));

    // Existing rows, in each of which different columns are missing or differ.
    for (n, column) in ["description", "accessionnum", "referringphysician", "id"].into_iter().enumerate() {
        let of = format!("WHERE CRC32(CONCAT(uuid, '{n}')) & 1");
        index.execute(&format!("UPDATE study SET {column} = NULL {of}"));
    }
    for (n, column) in ["numrows", "instance", "bitsstored"].into_iter().enumerate() {
        index.execute(&format!("UPDATE image SET {column} = NULL WHERE CRC32(CONCAT(uuid, '{n}')) & 1"));
    }
    index.execute("UPDATE image SET path = CONCAT(path, '.gone') WHERE MOD(instance, 2) = 1");
    closes_none(&index, "a run that fills", || site.reindex(&index, &["--force"])).exits(0);
    assert_eq!(beyond(&index.dump(), &dump), beyond(&dump, &index.dump()));
    index.execute("UPDATE study SET description = 'x', accessionnum = IF(CRC32(uuid) & 1, 'y', accessionnum)");
    let refresh = ["--force", "--existing", "refresh", "--undo", "undo.jsonl"];
    closes_none(&index, "a run that refreshes", || site.reindex(&index, &refresh)).exits(0);
    assert_eq!(index.dump(), dump);
}

#[test]
fn audit_repair_and_import_close_no_statement() {
    let (server, site) = (Server::start(), site_that_disagrees(40));
    let index = Index::empty_on(&server.url);
    let init = ["init", "--not-the-pacsone-installer"];
    closes_none(&index, "init", || run(&site, &index, &init)).exits(0);
    closes_none(&index, "reindex", || site.reindex(&index, &[])).exits(0);
    index.execute("UPDATE series SET instances = 9 WHERE CRC32(uuid) & 1");
    index.execute("UPDATE study SET reviewed = ''");
    let audit = ["audit", "archive", "--recheck-after", "0s", "--plan", "plan.jsonl", "--quiet"];
    closes_none(&index, "audit", || run(&site, &index, &audit)).exits(1);
    let plan = std::fs::read_to_string(site.path("plan.jsonl")).unwrap();
    std::fs::write(site.path("plan.jsonl"), plan.replace("\"enabled\":false", "\"enabled\":true")).unwrap();
    let repair = ["repair", "plan.jsonl", "--yes", "--undo-file", "undo.jsonl"];
    closes_none(&index, "repair", || run(&site, &index, &repair)).exits(0);
    assert_eq!(index.rows("SELECT COUNT(*) FROM study WHERE reviewed = ''"), ["0"]);
    let medium = site_that_disagrees(60);
    let medium = medium.archive().display().to_string();
    let import = ["import", &medium, "--archive", "archive", "--layout", "flat", "--yes", "--quiet"];
    closes_none(&index, "import", || run(&site, &index, &import)).exits(0);
    assert_eq!(index.count("image"), 180);
}

#[test]
fn a_server_that_prepares_no_statement_is_written_to_all_the_same() {
    let (server, site) = (Server::start(), site_that_disagrees(20));
    let (index, calm) = (Index::mariadb_on(&server.url, &site), Index::mariadb_on(&server.url, &site));
    site.reindex(&calm, &[]).exits(0);
    index.execute("SET GLOBAL max_prepared_stmt_count = 0");
    site.reindex(&index, &["--force"]).exits(0);
    assert_eq!(index.dump(), calm.dump());
}
