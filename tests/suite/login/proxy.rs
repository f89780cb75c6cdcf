//! A proxy in front of a server that denies statements which set a session variable.

use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

use super::fake_server::{read_packet, write_packet};

/// The command byte of a packet with the text of a statement (COM_QUERY).
const QUERY: u8 = 3;

/// Error 1227, as MySQL writes it.
const DENIED: &[u8] =
    b"\xff\xcb\x04#42000Access denied; you need (at least one of) the SUPER privilege(s) for this operation";

pub struct Proxy {
    pub port: u16,
    set: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts a proxy that denies each `SET SESSION` statement containing this variable.
    pub fn start(server: &str, denied: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let set = Arc::<Mutex<Vec<String>>>::default();
        let (server, seen) = (server.to_owned(), set.clone());
        spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&server).unwrap();
                let (mut answers, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                spawn(move || std::io::copy(&mut answers, &mut to_client));
                let seen = seen.clone();
                // A client may hang up at any point.
                spawn(move || relay(client, server, denied, &seen));
            }
        });
        Proxy { port, set }
    }

    /// The statements that have reached the server and set session variables.
    pub fn settings(&self) -> Vec<String> {
        self.set.lock().unwrap().clone()
    }
}

fn relay(mut client: TcpStream, mut server: TcpStream, denied: &str, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    loop {
        let (number, packet) = read_packet(&mut client)?;
        let text = packet.strip_prefix(&[QUERY]).map(|text| String::from_utf8_lossy(text).into_owned());
        match text.filter(|text| number == 0 && text.starts_with("SET SESSION")) {
            Some(text) if text.contains(denied) => write_packet(&mut client, 1, DENIED)?,
            setting => {
                seen.lock().unwrap().extend(setting);
                write_packet(&mut server, number, &packet)?;
            }
        }
    }
}
