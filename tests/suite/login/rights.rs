//! Accounts that lack a right or are restricted: the error names the cause, and a statement that
//! the user can type.

use serde_json::json;

use crate::support::{Index, PASSWORD, Said, Site};

/// An index, and an account without rights on it.
struct Account {
    site: Site,
    index: Index,
    user: String,
}

impl Account {
    /// Creates an account with further properties.
    fn new(properties: &str) -> Self {
        let site = Site::new();
        site.add("1.2.3", json!({}));
        let index = Index::mariadb(&site);
        let user = format!("u_{}", index.name());
        index.execute(&format!("CREATE USER {user}@'%' IDENTIFIED BY '{PASSWORD}' {properties}"));
        Account { site, index, user }
    }

    fn grant(&self, right: &str, table: &str) {
        self.index.execute(&format!("GRANT {right} ON {}.{table} TO {}@'%'", self.index.name(), self.user));
    }

    fn reindex(&self) -> Said {
        let url = self.index.url.replace("pacs@", &format!("{}@", self.user));
        let mut command = self.site.program(&["reindex", "archive", "--quiet", "--index", &url]);
        Said::of(command.env("PACS_INDEX_PASSWORD", PASSWORD))
    }

    fn is_refused(&self) -> String {
        self.reindex().exits(2).err
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.index.execute(&format!("DROP USER {}@'%'", self.user));
        }
    }
}

#[test]
fn an_expired_password_is_named() {
    let account = Account::new("PASSWORD EXPIRE");
    account.grant("ALL", "*");
    let error = account.is_refused();
    assert!(error.contains("has expired") && error.contains("ALTER USER"), "{error}");
    assert!(!error.contains("firewall"), "{error}");
}

#[test]
fn a_right_on_some_columns_alone_is_a_missing_right() {
    let account = Account::new("");
    for table in ["patient", "study", "series"] {
        account.grant("SELECT", table);
    }
    account.grant("SELECT (uuid)", "image");
    let error = account.is_refused();
    assert!(error.contains("lacks the right SELECT on"), "{error}");
    let grant = format!("GRANT SELECT ON `{}`.`image` TO '{}'@'%';", account.index.name(), account.user);
    assert!(error.contains(&grant), "{error}");
}

#[test]
fn a_denied_login_gets_advice_about_accounts_that_require_encryption() {
    let account = Account::new("REQUIRE SSL");
    account.grant("ALL", "*");
    let error = account.is_refused();
    assert!(error.contains("REQUIRE SSL") && error.contains("--ssl-mode required"), "{error}");
}

#[test]
fn a_user_without_the_right_to_delete_completes_a_run_that_leaves_a_patient_without_a_study() {
    let account = Account::new("");
    for table in ["patient", "study", "series", "image", "conceptname"] {
        account.grant("SELECT, INSERT, UPDATE", table);
    }
    let add = |file: &str, study: u32, name: &str| {
        let study = format!("1.2.3.{study}");
        let values = json!({"StudyInstanceUID": study, "SeriesInstanceUID": format!("{study}.1"),
            "SOPInstanceUID": format!("{study}.1.{file}"), "PatientID": "P", "PatientName": name});
        account.site.add(&format!("2021-11-12-FRI/{study}.{file}"), values);
    };
    let reindex = || {
        let said = account.reindex();
        assert!(said.exit <= 1, "{}{}", said.out, said.err);
        account.index.rows("SELECT COUNT(*) FROM patient WHERE origid LIKE 'P[%'")
    };
    add("1", 1, "Doe^John");
    add("1", 2, "Roe^Jane");
    assert_eq!(reindex(), ["1"]);
    // A later file has another name for the patient of the second study.
    add("2", 2, "Doe^John");
    assert_eq!(reindex(), ["1"], "the row stays");
}
