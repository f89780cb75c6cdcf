//! A database server that belongs to one test.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A server of the test's own, which the test may kill. `tests/server` starts it and removes it.
pub struct Server {
    script: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub url: String,
}

impl Server {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server with more options than the default ones.
    pub fn start_with(options: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server");
        let mut script = Command::new(script);
        let mut script = script.args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(script.stdout.take().unwrap());
        let mut server = Server { orders: script.stdin.take(), script, answers, url: String::new() };
        server.url = format!("mysql://pacs@127.0.0.1:{}/", server.answer());
        server
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the server does not start: run tests/run, which says what is missing");
        line.trim().to_owned()
    }

    /// Sends one of the commands that `tests/server` lists.
    pub fn order(&mut self, order: &str) {
        writeln!(self.orders.as_ref().unwrap(), "{order}").unwrap();
        assert_eq!(self.answer(), "done");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.script.wait();
    }
}
