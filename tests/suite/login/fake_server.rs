//! A server that sends the greeting of MySQL, begins TLS on request, and denies every login.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::spawn;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The behaviour of the server after its greeting.
#[derive(Clone)]
pub enum Behaviour {
    /// Offers no TLS.
    Plain,
    /// Begins TLS with a certificate and its key.
    Tls(Arc<ServerConfig>),
    /// Answers the first message of TLS with an alert, by its number (RFC 8446, section 6).
    Alert(u8),
    /// Asks for another login method.
    Method(&'static str),
    /// Speaks another protocol.
    Foreign,
}

const TLS_CAPABILITY: u32 = 0x0800;
/// Capability flags: the 4.1 protocol, its password authentication, and named login methods.
const CAPABILITIES: u32 = 0x0200 | 0x8000 | 0x0008_0000;

/// Starts a server, and returns its port.
pub fn start(behaviour: Behaviour) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    spawn(move || {
        for stream in listener.incoming().flatten() {
            let behaviour = behaviour.clone();
            // A client may hang up at any point.
            spawn(move || serve(stream, &behaviour));
        }
    });
    port
}

pub fn with_certificate(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Behaviour {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Behaviour::Tls(Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()))
}

fn serve(mut stream: TcpStream, behaviour: &Behaviour) -> std::io::Result<()> {
    if let Behaviour::Foreign = behaviour {
        stream.write_all(b"SSH-2.0-OpenSSH_9.2 and further text\r\n")?;
        return read_packet(&mut stream).map(drop);
    }
    let offers_tls = matches!(behaviour, Behaviour::Tls(_) | Behaviour::Alert(_));
    write_packet(&mut stream, 0, &greeting(if offers_tls { TLS_CAPABILITY } else { 0 }))?;
    let (number, request) = read_packet(&mut stream)?;
    let asks_for_tls = request.len() == 32;
    match behaviour {
        Behaviour::Tls(config) if asks_for_tls => {
            let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
            let mut stream = StreamOwned::new(connection, stream);
            let (number, _) = read_packet(&mut stream)?;
            deny(&mut stream, number + 1)
        }
        Behaviour::Alert(alert) if asks_for_tls => {
            // A record of the kind "alert", in the version of TLS 1.2, fatal.
            let mut hello = [0; 5];
            stream.read_exact(&mut hello)?;
            let mut rest = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
            stream.read_exact(&mut rest)?;
            stream.write_all(&[21, 3, 3, 0, 2, 2, *alert])
        }
        Behaviour::Method(method) => {
            let switch = [&[0xfe], method.as_bytes(), &[0; 22]].concat();
            write_packet(&mut stream, number + 1, &switch)?;
            read_packet(&mut stream).map(drop)
        }
        _ => deny(&mut stream, number + 1),
    }
}

fn greeting(more: u32) -> Vec<u8> {
    let [a, b, c, d] = (CAPABILITIES | more).to_le_bytes();
    let mut packet = vec![10];
    packet.extend(b"8.0.0-fake\0");
    packet.extend([1, 0, 0, 0]);
    packet.extend(b"12345678\0");
    packet.extend([a, b, 45, 2, 0, c, d, 21]);
    packet.extend([0; 10]);
    packet.extend(b"123456789012\0mysql_native_password\0");
    packet
}

/// Error 1045, as MySQL writes it.
fn deny(stream: &mut impl Write, number: u8) -> std::io::Result<()> {
    let message = b"\xff\x15\x04#28000Access denied for user 'pacs'@'10.0.0.5' (using password: YES)";
    write_packet(stream, number, message)
}

pub fn write_packet(stream: &mut impl Write, number: u8, payload: &[u8]) -> std::io::Result<()> {
    let [a, b, c, _] = (payload.len() as u32).to_le_bytes();
    stream.write_all(&[&[a, b, c, number], payload].concat())?;
    stream.flush()
}

pub fn read_packet(stream: &mut impl Read) -> std::io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let mut payload = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
    stream.read_exact(&mut payload)?;
    Ok((header[3], payload))
}
