//! Connections to a server: logins, encryption, sessions, and the errors when they fail.

mod certificates;
mod encryption;
mod errors;
mod fake_server;
mod mysql;
mod option_files;
mod proxy;
mod rights;
mod secrets;
mod session;
