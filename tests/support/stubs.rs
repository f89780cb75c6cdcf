//! Pointer stubs as storage systems create them: a small file of each kind, and shell links of any
//! form.

/// Returns the stubs, by name. The files of fixtures/stubs are written from them.
pub fn files() -> Vec<(&'static str, Vec<u8>)> {
    let mut files = shell_links();
    files.extend(texts().map(|(name, text)| (name, text.as_bytes().to_vec())));
    files.extend([
        ("xsym", xsym("../../tier2/2021/1.2.840.1", "41ca112d79567d5ebd2081f65c170eef")),
        ("interix", [b"IntxLNK\x01".to_vec(), unicode("/mnt/tier2/1.2.840.1")].concat()),
        ("cygwin", [b"!<symlink>\xFF\xFE".to_vec(), unicode("/cygdrive/z/ARCHIVE/1.2.840.1\0")].concat()),
        ("cygwin-old", b"!<symlink>/cygdrive/z/ARCHIVE/1.2.840.1\0".to_vec()),
        ("alias", [b"book\0\0\0\0mark\0\0\0\0\x38\0\0\0\x38\0\0\0".as_slice(), &[0; 64]].concat()),
        ("gzip", b"\x1F\x8B\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0".to_vec()),
        ("zip", [b"PK\x05\x06".as_slice(), &[0; 18]].concat()),
        ("tar", tar("1.2.840.1")),
    ]);
    files
}

fn shell_links() -> Vec<(&'static str, Vec<u8>)> {
    let local = LinkInfo { local: Some(r"D:\ARCHIVE\2021"), suffix: "1.2.840.1", ..LinkInfo::default() };
    let server = LinkInfo {
        server: Some(r"\\NAS01\archive"),
        device: Some("Z:"),
        suffix: r"2021\1.2.840.1",
        ..LinkInfo::default()
    };
    let both = LinkInfo { local: Some(r"D:\ARCHIVE\"), ..server };
    let named = LinkInfo { local: Some(r"D:\Röntgen\Ω.dcm"), in_unicode: true, ..LinkInfo::default() };
    let server_named = LinkInfo { in_unicode: true, suffix: r"Ω\1.2.840.1", ..server };
    let relative = Some(r"..\..\tier2\1.2.840.1");
    let with = |info| ShellLink { info: Some(info), ..ShellLink::default() };
    vec![
        ("local.lnk", ShellLink { size: 526_336, attributes: 0x20, ..with(local) }.bytes()),
        ("local-without-end.lnk", ShellLink { without_end: true, ..with(local) }.bytes()),
        ("local-ansi.lnk", with(LinkInfo { local: Some(r"D:\Röntgen"), ..local }).bytes()),
        ("local-offline.lnk", ShellLink { attributes: 0x1020, relative, ..with(local) }.bytes()),
        ("server.lnk", ShellLink { item_ids: &[3, 0, 1, 0, 0], ..with(server) }.bytes()),
        ("both.lnk", with(both).bytes()),
        ("unicode.lnk", ShellLink { in_unicode: true, relative: Some(r".\Ω.dcm"), ..with(named) }.bytes()),
        ("server-unicode.lnk", ShellLink { in_unicode: true, ..with(server_named) }.bytes()),
        ("relative.lnk", ShellLink { relative, name: Some("Käse"), ..ShellLink::default() }.bytes()),
        ("not-by-info.lnk", ShellLink { flags: 0x100, relative, ..with(local) }.bytes()),
        (
            "environment.lnk",
            ShellLink { environment: Some(r"\\nas01\archive\1.2.840.1"), ..ShellLink::default() }.bytes(),
        ),
        ("variable.lnk", ShellLink { environment: Some(r"%HOME%\1.2.840.1"), ..ShellLink::default() }.bytes()),
        ("nothing.lnk", ShellLink::default().bytes()),
    ]
}

fn texts() -> [(&'static str, &'static str); 13] {
    [
        ("vault.url", "[InternetShortcut]\r\nURL=https://vault.example/ViewMessage.asp?VaultId=1&SavesetId=2%20\r\n"),
        ("file.url", "[{000214A0}]\r\nProp3=19,2\r\n[internetshortcut]\r\nurl=file:///Z:/ARCHIVE/2021/1.2.840.1\r\n"),
        ("nothing.url", "[InternetShortcut]\r\nIconIndex=0\r\n"),
        ("link.desktop", "[Desktop Entry]\nType=Link\nName=1.2.840.1\nURL[$e]=file:///mnt/tier2/1.2%2E840.1\n"),
        ("annex", "/annex/objects/SHA256E-s526336--0b1bbb2a.dcm\n"),
        ("annex-link", "../.git/annex/objects/Xx/9F/MD5E-s12--0b1b.dcm/MD5E-s12--0b1b.dcm"),
        (
            "lfs",
            "version https://git-lfs.github.com/spec/v1\n\
             oid sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\nsize 526336\n",
        ),
        ("1.dcm.dvc", "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  size: 526336\n  hash: md5\n  path: 1.dcm\n"),
        (
            "series.dvc",
            "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e.dir\n  size: 9\n  nfiles: 2\n  hash: md5\n  path: series\n",
        ),
        ("1.dcm.cv-migrated.txt", "Ask the archive for this file.\n"),
        ("commvault", "This file has been archived by Commvault. Contact your backup admin to restore the file."),
        ("program.desktop", "[Desktop Entry]\nType=Application\nExec=viewer\nURL=file:///mnt/tier2/1.2.840.1\n"),
        ("notes", "Z:\\ARCHIVE\\1.2.840.1\nhttps://git-lfs.github.com\n"),
    ]
}

/// The content of a shell link (MS-SHLLINK).
#[derive(Clone, Copy, Debug, Default)]
pub struct ShellLink<'a> {
    pub flags: u32,
    pub attributes: u32,
    pub size: u32,
    pub item_ids: &'a [u8],
    pub info: Option<LinkInfo<'a>>,
    /// Whether the strings are in Unicode. LinkInfo has its own encoding.
    pub in_unicode: bool,
    pub name: Option<&'a str>,
    pub relative: Option<&'a str>,
    pub environment: Option<&'a str>,
    pub without_end: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct LinkInfo<'a> {
    pub local: Option<&'a str>,
    pub server: Option<&'a str>,
    pub device: Option<&'a str>,
    pub suffix: &'a str,
    pub in_unicode: bool,
}

impl ShellLink<'_> {
    pub fn bytes(&self) -> Vec<u8> {
        let has = |is_there: bool, flag: u32| if is_there { flag } else { 0 };
        let flags = self.flags
            | has(!self.item_ids.is_empty(), 1)
            | has(self.info.is_some(), 2)
            | has(self.name.is_some(), 4)
            | has(self.relative.is_some(), 8)
            | has(self.in_unicode, 0x80)
            | has(self.environment.is_some(), 0x200);
        let mut bytes = b"\x4C\0\0\0\x01\x14\x02\0\0\0\0\0\xC0\0\0\0\0\0\0\x46".to_vec();
        put(&mut bytes, &[flags, self.attributes, 0, 0, 0, 0, 0, 0, self.size, 0, 1, 0, 0, 0]);
        if !self.item_ids.is_empty() {
            bytes.extend((self.item_ids.len() as u16).to_le_bytes());
            bytes.extend(self.item_ids);
        }
        bytes.extend(self.info.iter().flat_map(LinkInfo::bytes));
        for string in [self.name, self.relative].into_iter().flatten() {
            bytes.extend((string.encode_utf16().count() as u16).to_le_bytes());
            bytes.extend(if self.in_unicode { unicode(string) } else { ansi(string) });
        }
        if let Some(target) = self.environment {
            put(&mut bytes, &[0x314, 0xA000_0001]);
            for (mut text, room) in [(ansi(target), 260), (unicode(target), 520)] {
                text.resize(room, 0);
                bytes.extend(text);
            }
        }
        if !self.without_end {
            put(&mut bytes, &[0]);
        }
        bytes
    }
}

impl LinkInfo<'_> {
    fn bytes(&self) -> Vec<u8> {
        let header = if self.in_unicode { 0x24 } else { 0x1C };
        let flags = u32::from(self.local.is_some()) | u32::from(self.server.is_some()) << 1;
        let mut offsets = [header, flags, 0, 0, 0, 0, 0, 0];
        let mut data: Vec<u8> = Vec::new();
        let mut place = |at: usize, bytes: &[u8]| {
            offsets[at] = header + data.len() as u32;
            data.extend(bytes);
        };
        if let Some(local) = self.local {
            place(2, b"\x11\0\0\0\x03\0\0\0\x78\x56\x34\x12\x10\0\0\0\0");
            place(3, &ansi(&terminated(local)));
        }
        if let Some(server) = self.server {
            place(4, &self.network(server));
        }
        place(5, &ansi(&terminated(self.suffix)));
        if self.in_unicode {
            if let Some(local) = self.local {
                place(6, &unicode(&terminated(local)));
            }
            place(7, &unicode(&terminated(self.suffix)));
        }
        let mut bytes = (header + data.len() as u32).to_le_bytes().to_vec();
        put(&mut bytes, &offsets[..header as usize / 4 - 1]);
        bytes.extend(data);
        bytes
    }

    fn network(&self, server: &str) -> Vec<u8> {
        let header = if self.in_unicode { 0x1C } else { 0x14 };
        let mut strings = vec![ansi(&terminated(server))];
        strings.extend(self.device.map(|device| ansi(&terminated(device))));
        let ansi_length: usize = strings.iter().map(Vec::len).sum();
        let device_at = |from: u32, length: usize| if self.device.is_some() { from + length as u32 } else { 0 };
        let mut fields =
            vec![2 | u32::from(self.device.is_some()), header, device_at(header, strings[0].len()), 0x2_0000];
        if self.in_unicode {
            let at = header + ansi_length as u32;
            fields.extend([at, device_at(at, unicode(&terminated(server)).len())]);
            strings.push(unicode(&terminated(server)));
            strings.extend(self.device.map(|device| unicode(&terminated(device))));
        }
        let mut bytes = (header + strings.iter().map(Vec::len).sum::<usize>() as u32).to_le_bytes().to_vec();
        put(&mut bytes, &fields);
        bytes.extend(strings.concat());
        bytes
    }
}

fn put(bytes: &mut Vec<u8>, numbers: &[u32]) {
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

fn terminated(text: &str) -> String {
    format!("{text}\0")
}

pub fn unicode(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Encodes text in the Western European code page. As on Windows, other characters become question
/// marks.
fn ansi(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(character).unwrap_or(b'?')).collect()
}

/// A symlink file as cifs on Linux and macOS write it. The caller passes the hash.
pub fn xsym(path: &str, md5: &str) -> Vec<u8> {
    let mut bytes = format!("XSym\n{:04}\n{md5}\n{path}\n", path.len()).into_bytes();
    bytes.resize(1067, b' ');
    bytes
}

/// Returns the header of an empty file (POSIX pax, ustar).
fn tar(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(257, 0);
    bytes.extend(b"ustar\x0000");
    bytes.resize(512, 0);
    bytes
}
