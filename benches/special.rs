//! Files whose headers cost a reader more than those of an ordinary image: values and sequences of
//! megabytes that must be skipped, and a data set that must be inflated.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use dicom_dictionary_std::uids;
use serde_json::{Value as Json, json};

use crate::store::Store;
use crate::support::writer::Writer;
use crate::support::{instance_file, walk};

/// Writes the files into a directory. Returns the description and the path of each.
pub fn make(directory: &Path) -> io::Result<Vec<(&'static str, PathBuf)>> {
    let ordinary = directory.join("ordinary");
    Store::of(ordinary.clone(), 1).make()?;
    let mut made = vec![("CT image", walk(&ordinary).remove(0))];
    let mut put = |what, file: Pieces| -> io::Result<()> {
        let path = directory.join(made.len().to_string());
        file.write(&path)?;
        made.push((what, path));
        Ok(())
    };
    put("private element of 20 MB before the patient", private_element(20_000_000))?;
    put("RTSTRUCT of 13 MB, lengths defined", structure_set(Writer::EXPLICIT))?;
    put("RTSTRUCT of 13 MB, lengths undefined", structure_set(Writer::UNDEFINED))?;
    put("whole-slide image of 10,000 frames", whole_slide(10_000))?;
    put("encapsulated PDF of 10 MB", pdf(10_000_000))?;
    put("deflated CT image", deflated())?;
    Ok(made)
}

/// A file in pieces, some of which are holes.
struct Pieces(Vec<Piece>);

enum Piece {
    Bytes(Vec<u8>),
    Hole(u32),
}

use Piece::{Bytes, Hole};

impl Pieces {
    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = File::create(path)?;
        for piece in &self.0 {
            match piece {
                Bytes(bytes) => file.write_all(bytes)?,
                Hole(length) => drop(file.seek(SeekFrom::Current((*length).into()))?),
            }
        }
        let end = file.stream_position()?;
        file.set_len(end)
    }
}

fn private_element(length: u32) -> Pieces {
    let file = instance_file(json!({}));
    let patient = Writer::EXPLICIT.tag((0x0010, 0x0010));
    let at = file.windows(4).position(|window| window == patient).expect("a patient");
    let before = [&file[..at], &Writer::EXPLICIT.header((0x0009, 0x1001), "OB", length)].concat();
    Pieces(vec![Bytes(before), Hole(length), Bytes(file[at..].to_vec())])
}

/// Contours of forty regions on 130 slices, 2.5 kB of coordinates each.
fn structure_set(writer: Writer) -> Pieces {
    let contour = writer.text((0x3006, 0x0050), "DS", &"-123.4\\56.78\\-910.5\\".repeat(125));
    let contours = writer.sequence((0x3006, 0x0040), &vec![contour; 130]);
    let regions = writer.sequence((0x3006, 0x0039), &vec![contours; 40]);
    Pieces(vec![Bytes(of_class(uids::RT_STRUCTURE_SET_STORAGE, "RTSTRUCT", json!({}))), Bytes(regions)])
}

/// Each frame contains its position on the slide.
fn whole_slide(frames: usize) -> Pieces {
    let writer = Writer::UNDEFINED;
    let place = |tag| writer.text(tag, "DS", "12.3456");
    let place = [place((0x0040, 0x072A)), place((0x0040, 0x073A))].concat();
    let frame = writer.sequence((0x0048, 0x021A), &[place]);
    let per_frame = writer.sequence((0x5200, 0x9230), &vec![frame; frames]);
    let change = json!({"NumberOfFrames": frames.to_string()});
    let header = of_class(uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE, "SM", change);
    let pixels = frames as u32 * 1000;
    Pieces(vec![
        Bytes(header),
        Bytes(per_frame),
        Bytes(Writer::EXPLICIT.header((0x7FE0, 0x0010), "OB", pixels)),
        Hole(pixels),
    ])
}

/// The MIME type follows the document.
fn pdf(length: u32) -> Pieces {
    let header = of_class(uids::ENCAPSULATED_PDF_STORAGE, "DOC", json!({}));
    let mime_type = Writer::EXPLICIT.text((0x0042, 0x0012), "LO", "application/pdf");
    let document = Writer::EXPLICIT.header((0x0042, 0x0011), "OB", length);
    Pieces(vec![Bytes(header), Bytes(document), Hole(length), Bytes(mime_type)])
}

fn deflated() -> Pieces {
    let writer = Writer { syntax: uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, defined: true };
    // The lower byte of each pixel is noise, as in an image, so that the pixel data does not
    // compress well.
    let noise = |n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8;
    let pixels: Vec<u8> = (0..512 * 512).flat_map(|n| [noise(n), 0]).collect();
    let header = Writer::EXPLICIT.header((0x7FE0, 0x0010), "OW", pixels.len() as u32);
    Pieces(vec![Bytes(writer.file_with(&[header, pixels].concat()))])
}

fn of_class(sop_class: &str, modality: &str, mut change: Json) -> Vec<u8> {
    change["SOPClassUID"] = sop_class.into();
    change["Modality"] = modality.into();
    instance_file(change)
}
