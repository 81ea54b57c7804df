//! The kernel proper in an image: a bzImage is a loader and a compressed vmlinux
//! (Documentation/arch/x86/boot.rst, `payload_offset`). `config.rs` reads what is in it,
//! `store.rs` keeps it.

use super::{bzimage, deb};
use anyhow::{Context as _, Result, bail, ensure};
use std::io::Read as _;

const OFFSET: usize = 0x248;
const LENGTH: usize = 0x24C;

/// Compressions by their first bytes, each with the end of its usual file name.
const COMPRESSIONS: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", ".gz"),
    (b"\xfd7zXZ\0", ".xz"),
    (b"\x28\xb5\x2f\xfd", ".zst"),
    (LZ4_LEGACY, ".lz4"),
    (b"\x5d\0\0", ".lzma"),
];
const LZ4_LEGACY: &[u8] = b"\x02\x21\x4c\x18";
/// The uncompressed size of every block of `lz4 -l` but the last.
const LZ4_BLOCK: usize = 8 << 20;

/// The vmlinux in `image`, or `image` itself if it is one.
pub(super) fn unpack(image: Vec<u8>) -> Result<Vec<u8>> {
    if image.starts_with(b"\x7fELF") {
        return Ok(image);
    }
    let begin = bzimage::protected_mode_at(&image) + field(&image, OFFSET)?;
    let end = begin + field(&image, LENGTH)?;
    let payload = image.get(begin..end).context("its payload is outside the file")?;
    let known = COMPRESSIONS.iter().find(|(magic, _)| payload.starts_with(magic));
    let (_, suffix) = known.context("its compression is not known")?;
    decompress(payload, suffix)
}

fn field(image: &[u8], at: usize) -> Result<usize> {
    let bytes = image.get(at..).and_then(|rest| rest.first_chunk());
    Ok(usize::try_from(u32::from_le_bytes(*bytes.context("its header is cut short")?))?)
}

fn decompress(payload: &[u8], suffix: &str) -> Result<Vec<u8>> {
    let mut kernel = Vec::new();
    match suffix {
        ".lz4" => return lz4_legacy(payload),
        ".zst" => {
            // The build appends the size to the one frame.
            zstd::Decoder::with_buffer(payload)?.single_frame().read_to_end(&mut kernel)?;
        }
        ".lzma" => {
            let stream = liblzma::stream::Stream::new_lzma_decoder(u64::MAX)?;
            let mut decoder = liblzma::bufread::XzDecoder::new_stream(payload, stream);
            decoder.read_to_end(&mut kernel)?;
        }
        _ => drop(deb::decompress(suffix, payload)?.read_to_end(&mut kernel)?),
    }
    Ok(kernel)
}

/// A magic number, blocks with their lengths, and the size that the build appends.
fn lz4_legacy(payload: &[u8]) -> Result<Vec<u8>> {
    let mut rest = &payload[LZ4_LEGACY.len()..];
    let mut kernel = Vec::new();
    while rest.len() > size_of::<u32>() {
        let (length, after) = rest.split_first_chunk().context("a block is cut short")?;
        let length = usize::try_from(u32::from_le_bytes(*length))?;
        ensure!(length <= after.len(), "a block is cut short");
        let (block, after) = after.split_at(length);
        match lz4_flex::block::decompress(block, LZ4_BLOCK) {
            Ok(bytes) => kernel.extend(bytes),
            Err(error) => bail!("a block is damaged: {error}"),
        }
        rest = after;
    }
    Ok(kernel)
}

/// An image with `kernel` in it, for the tests of this folder.
#[cfg(test)]
pub(super) fn fake(kernel: &[u8]) -> Vec<u8> {
    let packed = zstd::encode_all(kernel, 1).unwrap();
    fake_of(&[&packed[..], &u32::try_from(kernel.len()).unwrap().to_le_bytes()].concat())
}

#[cfg(test)]
fn fake_of(payload: &[u8]) -> Vec<u8> {
    let mut image = bzimage::fake("6.1.0-test (me) #1");
    let begin = bzimage::protected_mode_at(&image);
    let offset = u32::try_from(image.len() - begin).unwrap();
    image[OFFSET..OFFSET + 4].copy_from_slice(&offset.to_le_bytes());
    let length = u32::try_from(payload.len()).unwrap();
    image[LENGTH..LENGTH + 4].copy_from_slice(&length.to_le_bytes());
    image.extend(payload);
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const KERNEL: &[u8] = b"\x7fELF and the rest of the kernel, the kernel, the kernel";

    fn sized(packed: &[u8]) -> Vec<u8> {
        [packed, &u32::try_from(KERNEL.len()).unwrap().to_le_bytes()].concat()
    }

    fn lz4() -> Vec<u8> {
        let mut packed = LZ4_LEGACY.to_vec();
        for half in KERNEL.chunks(KERNEL.len() / 2 + 1) {
            let block = lz4_flex::block::compress(half);
            packed.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
            packed.extend(block);
        }
        packed
    }

    fn lzma() -> Vec<u8> {
        let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
        let stream = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(KERNEL).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_compression_is_undone() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(KERNEL).unwrap();
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(KERNEL, 1).read_to_end(&mut xz).unwrap();
        let packed = [gz.finish().unwrap(), xz, lz4(), lzma()];
        for payload in packed {
            assert_eq!(unpack(fake_of(&sized(&payload))).unwrap(), KERNEL, "{:x?}", &payload[..4]);
        }
        assert_eq!(unpack(fake(KERNEL)).unwrap(), KERNEL);
        assert_eq!(unpack(KERNEL.to_vec()).unwrap(), KERNEL);
    }

    #[test]
    fn a_damaged_image_is_an_error_not_a_panic() {
        let whole = fake_of(&sized(&lz4()));
        for length in 0..whole.len() {
            drop(unpack(whole[..length].to_vec()));
        }
        assert!(unpack(fake_of(b"????")).is_err());
        assert!(unpack(whole[..whole.len() - 8].to_vec()).is_err());
    }
}
