//! Record batches as they pass through: bytes nobody opened, in memory or still in their file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

/// The records of a produce request or a fetch response. Decoding gives [`Records::Memory`].
#[derive(Debug, Clone, PartialEq)]
pub enum Records {
    Memory(Bytes),
    File(FileSlice),
}

/// A range of a file that holds record batches and goes to the socket without being read into memory.
/// The holder sees to it that the range exists and stays as it is (a segment's sealed part).
#[derive(Debug, Clone)]
pub struct FileSlice {
    pub file: Arc<File>,
    pub position: u64,
    pub len: usize,
}

impl Records {
    pub fn len(&self) -> usize {
        match self {
            Records::Memory(bytes) => bytes.len(),
            Records::File(slice) => slice.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes in memory, read from the file if that is where they are.
    pub fn to_bytes(&self) -> io::Result<Bytes> {
        match self {
            Records::Memory(bytes) => Ok(bytes.clone()),
            Records::File(slice) => slice.read(),
        }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Records {
        Records::Memory(bytes)
    }
}

impl From<FileSlice> for Records {
    fn from(slice: FileSlice) -> Records {
        Records::File(slice)
    }
}

impl FileSlice {
    pub fn read(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.len];
        self.file.read_exact_at(&mut bytes, self.position)?;
        Ok(bytes.into())
    }
}

/// The same range of the same open file; contents are not compared.
impl PartialEq for FileSlice {
    fn eq(&self, other: &FileSlice) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && (self.position, self.len) == (other.position, other.len)
    }
}
