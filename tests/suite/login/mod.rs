//! How the program gets into a server: logins, encryption, sessions, and the errors where it does not get in.

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
