/// Adds the text `Software: carpus` to the bytes of a PNG. [`super::kind::PNG`] recognises the file by it.
pub fn sign_png(png: &mut Vec<u8>) {
    /// Position of the end of the header chunk, the first chunk of every PNG.
    const HEADER: usize = 33;
    const TEXT: &[u8] = b"tEXtSoftware\0carpus";
    let length = (TEXT.len() as u32 - 4).to_be_bytes();
    let chunk = [&length[..], TEXT, &crc32fast::hash(TEXT).to_be_bytes()].concat();
    png.splice(HEADER..HEADER, chunk);
}
