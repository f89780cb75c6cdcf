//! Writes a DICOMDIR element by element, because media writers take liberties that no library
//! offers.

/// Returns a DICOMDIR in explicit VR little endian with one record per file, given its Referenced
/// File ID and SOP Instance UID.
pub fn dicomdir(records: &[(&str, String)]) -> Vec<u8> {
    let mut meta = Vec::new();
    element(&mut meta, 0x0002, 0x0002, b"UI", b"1.2.840.10008.1.3.10");
    element(&mut meta, 0x0002, 0x0003, b"UI", b"1.2.3.4.5.6.7");
    element(&mut meta, 0x0002, 0x0010, b"UI", b"1.2.840.10008.1.2.1");
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    let length = (meta.len() as u32).to_le_bytes();
    element(&mut bytes, 0x0002, 0x0000, b"UL", &length);
    bytes.extend(meta);
    element(&mut bytes, 0x0004, 0x1130, b"CS", b"TEST");
    bytes.extend([0x04, 0x00, 0x20, 0x12, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    for (file, uid) in records {
        let mut record = Vec::new();
        element(&mut record, 0x0004, 0x1430, b"CS", b"IMAGE ");
        element(&mut record, 0x0004, 0x1500, b"CS", file.as_bytes());
        if !uid.is_empty() {
            element(&mut record, 0x0004, 0x1511, b"UI", uid.as_bytes());
        }
        bytes.extend([0xFE, 0xFF, 0x00, 0xE0]);
        bytes.extend((record.len() as u32).to_le_bytes());
        bytes.extend(record);
    }
    bytes.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    bytes
}

/// Appends an element. Values of odd length are padded.
fn element(bytes: &mut Vec<u8>, group: u16, number: u16, vr: &[u8; 2], value: &[u8]) {
    let padding: &[u8] = match (value.len() % 2, vr) {
        (0, _) => b"",
        (_, b"UI") => b"\0",
        _ => b" ",
    };
    bytes.extend(group.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(vr);
    bytes.extend(((value.len() + padding.len()) as u16).to_le_bytes());
    bytes.extend(value);
    bytes.extend(padding);
}
