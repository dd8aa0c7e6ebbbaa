//! Checkpoints: named tensors and a few strings in one safetensors file, with a checksum of each part.
//!
//! The files are what PyTorch's, JAX's and other readers of the format expect; theirs are read too. Beyond the
//! format, the metadata holds a CRC-32 of the header and of each tensor, which loading verifies: a file that lost or
//! changed a bit is refused. Any file is safe to open: what it claims is compared with its true length before memory
//! is asked for, and whatever does not fit is an error that names the file and the fault.
//!
//! ```
//! use gradus::checkpoint::Checkpoint;
//! use gradus::nn::Linear;
//! use gradus::optim::Adam;
//! use gradus::{Rng, nn::Module};
//! let mut rng = Rng::seed(1);
//! let net = Linear::new(2, 3, &mut rng);
//! let opt = Adam::new(net.params(), 1e-3);
//!
//! let mut checkpoint = Checkpoint::new();
//! checkpoint.put_module("model", &net)?;
//! checkpoint.put_optimizer("adam", &opt)?;
//! checkpoint.put_rng("noise", &rng);
//! checkpoint.put("config", "hidden = 3");
//! let bytes = checkpoint.to_bytes()?;            // or checkpoint.save(path)?
//!
//! let read = Checkpoint::from_bytes(&bytes)?;    // or Checkpoint::load(path)?
//! read.load_module("model", &net)?;
//! assert_eq!(read.rng("noise")?, rng);
//! # Ok::<(), gradus::Error>(())
//! ```

mod elements;
mod generations;
mod header;
mod state;

pub use generations::previous;

use crate::error::{Error, Result};
use crate::exec;
use crate::tensor::Tensor;
use elements::Kind;
use header::{Entry, quoted};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

/// The longest header: the official reader's limit.
const MAX_HEADER: u64 = 100_000_000;

/// Named tensors and strings.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// The tensors.
    pub tensors: BTreeMap<String, Tensor>,
    /// Everything that is not a tensor. Keys that begin with `gradus.crc32` belong to the format.
    pub metadata: BTreeMap<String, String>,
}

impl Checkpoint {
    /// An empty one.
    pub fn new() -> Checkpoint {
        Checkpoint::default()
    }

    /// The file as bytes.
    ///
    /// # Errors
    /// When a tensor cannot be computed, or a name is one the format keeps for itself.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let (header, order) = self.header()?;
        let data: usize = order.iter().map(|entry| entry.len).sum();
        let mut bytes = elements::room(8 + header.len() + data)?;
        self.write(&header, &order, &mut bytes).map_err(|e| Error::Data(e.to_string()))?;
        Ok(bytes)
    }

    /// What [`to_bytes`](Checkpoint::to_bytes) gave, or any other program's safetensors file. F16 and BF16 become
    /// f32, I64 becomes i32 and U64 u32 where every element fits, smaller integers become i32.
    ///
    /// # Errors
    /// [`Error::Data`] saying what is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint> {
        let mut rest = bytes;
        read(&mut rest, bytes.len() as u64)
    }

    /// The header, and the tensors in the order of their data.
    fn header(&self) -> Result<(Vec<u8>, Vec<Entry>)> {
        if let Some(key) = self.metadata.keys().find(|key| key.starts_with(header::CHECKSUM)) {
            return Err(Error::Data(format!("the metadata key {} belongs to the format", quoted(key))));
        }
        if self.tensors.contains_key("__metadata__") {
            return Err(Error::Data("no tensor can be called \"__metadata__\"".into()));
        }
        // Together, because tensors share work: the running statistics of layers, say.
        let all: Vec<Tensor> = self.tensors.values().cloned().collect();
        exec::eval_roots(&all)?;
        let mut entries = Vec::new();
        for (name, tensor) in &self.tensors {
            let bytes = elements::encode(tensor)?;
            entries.push(Entry {
                name: name.clone(),
                kind: Kind::of(tensor.dtype()),
                shape: *tensor.shape(),
                len: bytes.len(),
                checksum: Some(crc32fast::hash(&bytes)),
            });
        }
        // Large elements first, so that every tensor is aligned to its own. The sort keeps names in order.
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.kind.size()));
        let header = header::write(&self.metadata, &entries);
        if header.len() as u64 > MAX_HEADER {
            return Err(Error::Data(format!(
                "the header would have {} bytes, more than {MAX_HEADER}",
                header.len()
            )));
        }
        Ok((header, entries))
    }

    fn write(&self, header: &[u8], order: &[Entry], out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header)?;
        for entry in order {
            out.write_all(&elements::encode(&self.tensors[&entry.name]).map_err(io::Error::other)?)?;
        }
        Ok(())
    }
}

/// Reads a file of `total` bytes. Needs memory for its tensors and for the bytes of the largest of them.
fn read(input: &mut dyn Read, total: u64) -> Result<Checkpoint> {
    let Some(rest) = total.checked_sub(8) else {
        return Err(Error::Data(format!("{total} bytes are too few for a safetensors file")));
    };
    let mut length = [0; 8];
    input.read_exact(&mut length).map_err(cut)?;
    let length = u64::from_le_bytes(length);
    let Some(data) = rest.checked_sub(length).filter(|_| length <= MAX_HEADER) else {
        let limit = rest.min(MAX_HEADER);
        return Err(Error::Data(format!(
            "not a safetensors file: it begins with a header length of {length}, but at most {limit} bytes can follow"
        )));
    };
    let mut buffer = Vec::new();
    read_exactly(input, length as usize, &mut buffer)?;
    let header = header::parse(&buffer, data).map_err(Error::Data)?;
    let mut checkpoint = Checkpoint { tensors: BTreeMap::new(), metadata: header.metadata };
    for entry in header.entries {
        read_exactly(input, entry.len, &mut buffer)?;
        if entry.checksum.is_some_and(|stored| stored != crc32fast::hash(&buffer)) {
            let name = quoted(&entry.name);
            return Err(Error::Data(format!("tensor {name} is damaged: its checksum does not agree")));
        }
        let tensor = elements::decode(entry.kind, &entry.shape, &buffer)
            .map_err(|e| Error::Data(format!("tensor {}: {e}", quoted(&entry.name))))?;
        checkpoint.tensors.insert(entry.name, tensor);
    }
    Ok(checkpoint)
}

/// Fills `buffer` with the next `len` bytes, which the file has by its length.
fn read_exactly(input: &mut dyn Read, len: usize, buffer: &mut Vec<u8>) -> Result<()> {
    if buffer.capacity() < len {
        *buffer = elements::room(len)?;
    }
    buffer.resize(len, 0);
    input.read_exact(buffer).map_err(cut)
}

fn cut(e: io::Error) -> Error {
    Error::Data(format!("cannot read: {e}"))
}
