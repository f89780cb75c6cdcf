//! The options of all commands that open an index.

use std::path::PathBuf;

use clap::Args;

use crate::index::tls::SslMode;

/// The index, and the login to its server.
#[derive(Clone, Debug, Args)]
pub struct Index {
    /// Index to use: sqlite:FILE or mysql://user@host:port/database
    #[arg(long = "index", value_name = "URL", default_value = "sqlite:pacs-index.db")]
    pub url: String,

    /// INI file of the PACS, which contains the address of its database
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub pacsone_ini: Option<PathBuf>,

    /// File whose first line is the password [default: the environment variable PACS_INDEX_PASSWORD]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,

    /// MySQL option file (my.cnf) with user, password and TLS settings
    #[arg(long, value_name = "FILE")]
    pub defaults_file: Option<PathBuf>,

    /// Section of the option file to read
    #[arg(long, value_name = "NAME", default_value = "client", requires = "defaults_file")]
    pub defaults_section: String,

    /// Encryption of the connection [default: preferred, or verify-ca with --ssl-ca]
    #[arg(long, value_enum, ignore_case = true, value_name = "MODE")]
    pub ssl_mode: Option<SslMode>,

    /// Certificates of further authorities to trust, in PEM format
    #[arg(long, value_name = "FILE")]
    pub ssl_ca: Option<PathBuf>,

    /// Client certificate, in PEM format
    #[arg(long, value_name = "FILE")]
    pub ssl_cert: Option<PathBuf>,

    /// Private key of --ssl-cert, in PEM format
    #[arg(long, value_name = "FILE")]
    pub ssl_key: Option<PathBuf>,
}
