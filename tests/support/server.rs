//! Database servers that belong to one test.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A private server of one test, which the test may kill. `tests/server` starts and removes it.
pub struct Server {
    script: Script,
    pub url: String,
}

impl Server {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with these options.
    pub fn start_with(options: &[&str]) -> Self {
        let (script, port) = Script::start("tests/server", options);
        Server { script, url: url(&port) }
    }

    /// Sends one of the commands that `tests/server` lists.
    pub fn order(&mut self, order: &str) {
        self.script.order(order);
    }
}

/// A private Galera cluster of one test. `tests/cluster` starts and removes it.
pub struct Cluster {
    script: Script,
    /// A URL for each node.
    pub nodes: Vec<String>,
}

impl Cluster {
    /// Starts a cluster, or prints why the test does not run.
    pub fn start(nodes: usize) -> Option<Self> {
        if std::env::var_os("PACS_INDEX_TEST_GALERA").is_none() {
            println!("*** Galera is missing (Debian: galera-4): this test DID NOT RUN ***");
            return None;
        }
        let (script, ports) = Script::start("tests/cluster", &[&nodes.to_string()]);
        Some(Cluster { script, nodes: ports.split(' ').map(url).collect() })
    }

    /// Sends one of the commands that `tests/cluster` lists.
    pub fn order(&mut self, order: &str) {
        self.script.order(order);
    }
}

fn url(port: &str) -> String {
    format!("mysql://pacs@127.0.0.1:{port}/")
}

/// A script that runs servers until its standard input is closed.
struct Script {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Script {
    /// Starts a script and returns its first line.
    fn start(name: &str, arguments: &[&str]) -> (Self, String) {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
        let mut process = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut script = Script { orders: process.stdin.take(), process, answers };
        let first = script.answer();
        (script, first)
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the server does not start: run tests/run, which says what is missing");
        line.trim().to_owned()
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders.as_ref().unwrap(), "{order}").unwrap();
        assert_eq!(self.answer(), "done");
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.process.wait();
    }
}
