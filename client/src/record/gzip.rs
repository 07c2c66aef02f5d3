//! gzip as Java's streams read it: members one after the other, and whatever follows that is no
//! member is not looked at.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;

const MEMBER_START: [u8; 3] = [0x1f, 0x8b, 8];

pub(super) struct Reader<'a> {
    member: GzDecoder<&'a [u8]>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Reader<'a> {
        Reader { member: GzDecoder::new(payload) }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.member.read(out)?;
            let rest = *self.member.get_ref();
            if read > 0 || out.is_empty() || !rest.starts_with(&MEMBER_START) {
                return Ok(read);
            }
            self.member = GzDecoder::new(rest);
        }
    }
}
