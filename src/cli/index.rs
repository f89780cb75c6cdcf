//! The options of every command that opens an index.

use std::path::PathBuf;

use clap::Args;

use crate::index::tls::SslMode;

/// The index, and the login to its server.
#[derive(Clone, Debug, Args)]
pub struct Index {
    /// sqlite:FILE or mysql://user@host:port/database
    #[arg(long = "index", value_name = "URL", default_value = "sqlite:pacs-index.db")]
    pub url: String,

    /// The INI file of the PACS, which says where its database is
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub pacsone_ini: Option<PathBuf>,

    /// A file whose first line is the password [otherwise: the environment variable PACS_INDEX_PASSWORD]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,

    /// A MySQL option file (my.cnf) with user, password and TLS settings
    #[arg(long, value_name = "FILE")]
    pub defaults_file: Option<PathBuf>,

    /// The section of the option file
    #[arg(long, value_name = "NAME", default_value = "client", requires = "defaults_file")]
    pub defaults_section: String,

    /// Encryption of the connection [default: preferred, or verify-ca with --ssl-ca]
    #[arg(long, value_enum, ignore_case = true, value_name = "MODE")]
    pub ssl_mode: Option<SslMode>,

    /// Certificates of authorities to trust beside those of the system, in PEM form
    #[arg(long, value_name = "FILE")]
    pub ssl_ca: Option<PathBuf>,

    /// A certificate that identifies this client to the server, in PEM form
    #[arg(long, value_name = "FILE")]
    pub ssl_cert: Option<PathBuf>,

    /// The private key of --ssl-cert, in PEM form
    #[arg(long, value_name = "FILE")]
    pub ssl_key: Option<PathBuf>,
}
