//! Login over a Unix socket with `caching_sha2_password`.
//!
//! A server that has a user's password hash in its cache verifies a login by a challenge. Otherwise
//! the server requests the password itself, which a client sends in clear text over a Unix socket,
//! because no network is involved (MySQL manual, "Caching SHA-2 Pluggable Authentication"). The
//! driver does not treat a socket as secure and requests a public key, and the server interprets
//! that request as a wrong password. The login below fills the server's cache, so that the next
//! login of the driver succeeds.
//!
//! The packets are described in MySQL Internals, "Connection Phase".

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

const PLUGIN: &str = "caching_sha2_password";

/// Capability flags: the protocol of 4.1 and later, its password format, and plugin names.
const CAPABILITIES: u32 = 0x0000_0200 | 0x0000_8000 | 0x0008_0000;
const MAX_PACKET_BYTES: u32 = 1 << 20;
const UTF8MB4_GENERAL_CI: u8 = 45;

/// The size of a response to the challenge, in bytes. The program sends zeros, so that the server
/// requests the password.
const SCRAMBLE_BYTES: usize = 32;

/// The time limit for the whole login. A server normally responds at once, but may deliberately
/// delay its response to a wrong password.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of packets to read. A login takes four, and two more if the server switches
/// plugins.
const MOST_PACKETS: usize = 10;

const OK: u8 = 0x00;
const MORE_DATA: u8 = 0x01;
const SWITCH_PLUGIN: u8 = 0xfe;
const FULL_AUTHENTICATION: u8 = 0x04;

/// Logs in with the password itself and disconnects. Returns whether the server accepted the login.
pub(crate) fn fill_password_cache(socket: &Path, user: &str, password: &str) -> Result<bool> {
    let deadline = Instant::now() + TIMEOUT;
    log_in(DeadlineStream { stream: UnixStream::connect(socket)?, deadline }, user, password)
}

/// A socket with one deadline for all reads and writes, since the caller's time limit does not
/// interrupt them.
struct DeadlineStream {
    stream: UnixStream,
    deadline: Instant,
}

impl DeadlineStream {
    fn left(&self) -> Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for DeadlineStream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for DeadlineStream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.flush()
    }
}

fn log_in(mut stream: impl Read + Write, user: &str, password: &str) -> Result<bool> {
    let (mut number, greeting) = receive(&mut stream)?;
    // Protocol version 10. A server that accepts no login sends an error instead.
    if greeting.first() != Some(&10) {
        return Ok(false);
    }
    send(&mut stream, number.wrapping_add(1), &login_request(user))?;
    for _ in 1..MOST_PACKETS {
        let packet;
        (number, packet) = receive(&mut stream)?;
        let reply = match packet.as_slice() {
            [OK, ..] => return Ok(true),
            [MORE_DATA, FULL_AUTHENTICATION, ..] => [password.as_bytes(), &[0]].concat(),
            // The message that the challenge was met, which is followed by OK.
            [MORE_DATA, _, ..] => continue,
            [SWITCH_PLUGIN, plugin @ ..] if plugin.starts_with(PLUGIN.as_bytes()) => vec![0; SCRAMBLE_BYTES],
            _ => return Ok(false),
        };
        send(&mut stream, number.wrapping_add(1), &reply)?;
    }
    Err(ErrorKind::InvalidData.into())
}

fn login_request(user: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend(CAPABILITIES.to_le_bytes());
    packet.extend(MAX_PACKET_BYTES.to_le_bytes());
    packet.push(UTF8MB4_GENERAL_CI);
    packet.extend([0; 23]);
    packet.extend(user.as_bytes());
    packet.extend([0, SCRAMBLE_BYTES as u8]);
    packet.extend([0; SCRAMBLE_BYTES]);
    packet.extend(PLUGIN.as_bytes());
    packet.push(0);
    packet
}

/// Reads a packet and its sequence number.
fn receive(stream: &mut impl Read) -> Result<(u8, Vec<u8>)> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let [a, b, c, number] = header;
    let bytes = u32::from_le_bytes([a, b, c, 0]);
    if bytes == 0 || bytes > MAX_PACKET_BYTES {
        return Err(Error::from(ErrorKind::InvalidData));
    }
    let mut payload = vec![0; bytes as usize];
    stream.read_exact(&mut payload)?;
    Ok((number, payload))
}

fn send(stream: &mut impl Write, number: u8, payload: &[u8]) -> Result<()> {
    let [a, b, c, _] = (payload.len() as u32).to_le_bytes();
    stream.write_all(&[&[a, b, c, number], payload].concat())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn within(stream: UnixStream) -> DeadlineStream {
        DeadlineStream { stream, deadline: Instant::now() + TIMEOUT }
    }

    /// Runs a login against a server that sends a greeting and answers each packet of the client
    /// with the next of `answers`. Returns the result and the packets that the server received.
    fn against(answers: Vec<Vec<u8>>) -> (Result<bool>, Vec<Vec<u8>>) {
        let (mut server, client) = UnixStream::pair().unwrap();
        let served = thread::spawn(move || {
            let mut received = Vec::new();
            send(&mut server, 0, &[10, b'9', 0]).unwrap();
            for answer in answers {
                let (number, packet) = receive(&mut server).unwrap();
                received.push(packet);
                send(&mut server, number + 1, &answer).unwrap();
            }
            received
        });
        let outcome = log_in(within(client), "pacs", "secret");
        (outcome, served.join().unwrap())
    }

    #[test]
    fn the_password_is_sent_when_the_server_asks_for_it_and_not_before() {
        let (outcome, received) = against(vec![vec![MORE_DATA, FULL_AUTHENTICATION], vec![OK, 0]]);
        assert!(outcome.unwrap());
        assert!(!received[0].windows(6).any(|part| part == b"secret"));
        assert_eq!(received[1], b"secret\0");
    }

    #[test]
    fn a_server_that_switches_to_the_plugin_is_followed_and_to_another_is_left() {
        let switch = |plugin: &str| [&[SWITCH_PLUGIN], plugin.as_bytes(), &[0; 22]].concat();
        let (outcome, received) = against(vec![switch(PLUGIN), vec![MORE_DATA, FULL_AUTHENTICATION], vec![OK]]);
        assert!(outcome.unwrap());
        assert_eq!(received[1], [0; SCRAMBLE_BYTES]);
        let (outcome, received) = against(vec![switch("mysql_clear_password")]);
        assert!(!outcome.unwrap());
        assert_eq!(received.len(), 1, "no password is sent");
    }

    #[test]
    fn a_server_that_comes_to_no_end_is_left() {
        let switch = [&[SWITCH_PLUGIN], PLUGIN.as_bytes(), &[0; 22]].concat();
        for answer in [vec![MORE_DATA, 3], vec![MORE_DATA, FULL_AUTHENTICATION], switch] {
            let (mut server, client) = UnixStream::pair().unwrap();
            send(&mut server, 0, &[10, b'9', 0]).unwrap();
            (0..20).for_each(|number| send(&mut server, number, &answer).unwrap());
            send(&mut server, 20, &[OK]).unwrap();
            assert!(log_in(within(client), "pacs", "secret").is_err(), "{answer:?}");
        }
    }

    #[test]
    fn a_server_that_sends_byte_after_byte_does_not_extend_its_time() {
        let (mut server, client) = UnixStream::pair().unwrap();
        let limit = Duration::from_millis(200);
        let began = Instant::now();
        let served = thread::spawn(move || {
            // The header of a packet of 2,570 bytes, followed by its bytes.
            let _ = server.write_all(&[10, 10, 0, 0]);
            while began.elapsed() < 20 * limit && server.write_all(&[10]).is_ok() {
                thread::sleep(limit / 20);
            }
        });
        let stream = DeadlineStream { stream: client, deadline: began + limit };
        assert!(log_in(stream, "pacs", "secret").is_err());
        assert!(began.elapsed() < 10 * limit, "{:?}", began.elapsed());
        served.join().unwrap();
    }

    #[test]
    fn a_refusal_and_a_server_that_hangs_up_are_no_login() {
        assert!(!against(vec![vec![0xff, 0x15, 0x04]]).0.unwrap());
        assert!(against(vec![vec![MORE_DATA, FULL_AUTHENTICATION]]).0.is_err());
    }
}
