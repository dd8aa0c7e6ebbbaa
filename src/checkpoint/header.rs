//! The header of a safetensors file: a JSON object of a fixed form, read and written here.
//!
//! The reader knows this form only, so it needs no recursion, meets every duplicate, and keeps lengths exact beyond
//! 2^53, where a general JSON reader has doubles.

use super::elements::Kind;
use crate::shape::Shape;
use gradus_kernels::MAX_RANK;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What is wrong, in words.
pub(super) type Fault = String;

/// The key under which the header holds its own checksum; with `:name` appended, that of a tensor.
pub(super) const CHECKSUM: &str = "gradus.crc32";

/// One tensor of a file.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: String,
    pub kind: Kind,
    pub shape: Shape,
    /// Bytes of data.
    pub len: usize,
    /// Of those bytes, where the file has one.
    pub checksum: Option<u32>,
}

/// All that a header says.
#[derive(Debug)]
pub(super) struct Header {
    pub metadata: BTreeMap<String, String>,
    /// In the order of their data, which has neither gaps nor overlaps.
    pub entries: Vec<Entry>,
}

/// A name in a message: escaped, and cut if it is long.
pub(super) fn quoted(name: &str) -> String {
    if name.chars().count() <= 100 {
        return format!("{name:?}");
    }
    let start: String = name.chars().take(100).collect();
    format!("{start:?}… ({} bytes)", name.len())
}

/// Reads a header whose tensors take `data` bytes together.
pub(super) fn parse(bytes: &[u8], data: u64) -> Result<Header, Fault> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| format!("the header is not UTF-8 at its byte {}", e.valid_up_to()))?;
    let mut raw = Raw::default();
    let mut scanner = Scanner { text, at: 0 };
    if !text.starts_with('{') {
        return Err(scanner.fault("a {"));
    }
    scanner.object(|scanner, key| match key.as_str() {
        "__metadata__" => raw.metadata(scanner),
        _ => raw.tensor(scanner, key),
    })?;
    if !text[scanner.at..].bytes().all(|b| b == b' ') {
        return Err(scanner.fault("the end, or spaces"));
    }
    raw.check(bytes, data)
}

/// What was read, before it is compared.
#[derive(Default)]
struct Raw {
    metadata: Option<BTreeMap<String, String>>,
    tensors: BTreeMap<String, (Kind, Shape, [u64; 2])>,
    /// Where the digits of the header's own checksum are.
    own: Option<usize>,
}

impl Raw {
    fn metadata(&mut self, scanner: &mut Scanner) -> Result<(), Fault> {
        if self.metadata.is_some() {
            return Err("the header has \"__metadata__\" twice".into());
        }
        let mut map = BTreeMap::new();
        scanner.object(|scanner, key| {
            let start = scanner.at;
            let value = scanner.string()?;
            if key == CHECKSUM {
                self.own = Some(start + 1);
            }
            match map.insert(key.clone(), value) {
                Some(_) => Err(format!("the metadata has {} twice", quoted(&key))),
                None => Ok(()),
            }
        })?;
        self.metadata = Some(map);
        Ok(())
    }

    fn tensor(&mut self, scanner: &mut Scanner, name: String) -> Result<(), Fault> {
        let (mut kind, mut shape, mut offsets) = (None, None, None);
        let about = |fault: Fault| format!("tensor {}: {fault}", quoted(&name));
        scanner
            .object(|scanner, key| {
                let again = match key.as_str() {
                    "dtype" => kind.replace(Kind::parse(&scanner.string()?)?).is_some(),
                    "shape" => shape.replace(scanner.numbers(MAX_RANK, "axes")?).is_some(),
                    "data_offsets" => offsets.replace(scanner.numbers(2, "offsets")?).is_some(),
                    _ => return Err(format!("has the unknown field {}", quoted(&key))),
                };
                if again { Err(format!("has {key} twice")) } else { Ok(()) }
            })
            .map_err(about)?;
        let missing = |field: &str| about(format!("has no {field}"));
        let kind = kind.ok_or_else(|| missing("dtype"))?;
        let dims = shape.ok_or_else(|| missing("shape"))?;
        let dims: Result<Vec<usize>, _> = dims.into_iter().map(usize::try_from).collect();
        let shape = dims.map_err(|e| e.to_string()).and_then(|d| Shape::new(&d)).map_err(about)?;
        let offsets = offsets.ok_or_else(|| missing("data_offsets"))?;
        let offsets = <[u64; 2]>::try_from(offsets).map_err(|_| about("needs two data_offsets".into()))?;
        match self.tensors.insert(name.clone(), (kind, shape, offsets)) {
            Some(_) => Err(format!("the header has tensor {} twice", quoted(&name))),
            None => Ok(()),
        }
    }

    fn check(self, bytes: &[u8], data: u64) -> Result<Header, Fault> {
        let mut metadata = self.metadata.unwrap_or_default();
        let whole = metadata.remove(CHECKSUM);
        if let (Some(digits), Some(at)) = (&whole, self.own) {
            let stored = checksum(digits).map_err(|fault| format!("the header's checksum {fault}"))?;
            // The digits themselves count as zeros. Eight digits have no escapes, so they lie here as they are.
            let tail = bytes.get(at + 8..).unwrap_or_default();
            let mut crc = crc32fast::Hasher::new();
            [&bytes[..at], b"00000000", tail].iter().for_each(|part| crc.update(part));
            if crc.finalize() != stored {
                return Err("the header is damaged: its checksum does not agree".into());
            }
        }
        let mut list: Vec<_> = self.tensors.into_iter().collect();
        // Of empty tensors several may begin at one place. (A stable sort is three times the code.)
        list.sort_unstable_by(|(a, (.., at)), (b, (.., bt))| (at, a).cmp(&(bt, b)));
        let (mut entries, mut end) = (Vec::with_capacity(list.len()), 0);
        for (name, (kind, shape, [from, to])) in list {
            let about = |fault: Fault| format!("tensor {}: {fault}", quoted(&name));
            // A shape that exists has room for eight bytes an element.
            let len = shape.numel() * kind.size();
            if to.checked_sub(from) != Some(len as u64) {
                return Err(about(format!(
                    "offsets {from} to {to} are not the {len} bytes of {} {shape}",
                    kind.name()
                )));
            }
            if from != end {
                let what =
                    if from < end { "overlaps the data before it" } else { "leaves a gap before its data" };
                return Err(about(format!("begins at {from} and {what}, which ends at {end}")));
            }
            if to > data {
                return Err(about(format!("ends at {to}, but the file has {data} bytes of data")));
            }
            end = to;
            let stored = metadata.remove(&format!("{CHECKSUM}:{name}"));
            let checksum = match (stored, &whole) {
                (Some(digits), Some(_)) => {
                    Some(checksum(&digits).map_err(|e| about(format!("its checksum {e}")))?)
                }
                (None, None) => None,
                _ => {
                    return Err(about(
                        "the header is damaged: of its own and the tensor's checksum one is missing".into(),
                    ));
                }
            };
            entries.push(Entry { name, kind, shape, len, checksum });
        }
        if end != data {
            return Err(format!("the tensors take {end} bytes, but the file has {data} bytes of data"));
        }
        match metadata.keys().find(|key| key.starts_with(CHECKSUM)) {
            Some(key) => Err(format!("there is a checksum {} but no such tensor", quoted(key))),
            None => Ok(Header { metadata, entries }),
        }
    }
}

/// Reads eight hexadecimal digits.
fn checksum(digits: &str) -> Result<u32, Fault> {
    let well_formed = digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    match u32::from_str_radix(digits, 16) {
        Ok(value) if well_formed => Ok(value),
        _ => Err(format!("{} is not eight hexadecimal digits", quoted(digits))),
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fault(&self, expected: &str) -> Fault {
        let found = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(c) => format!("{c:?}"),
            None => "the end".into(),
        };
        format!("header byte {}: expected {expected}, found {found}", self.at)
    }

    fn skip_spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Goes past `byte` and the spaces around it, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_spaces();
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
            self.skip_spaces();
        }
        found
    }

    /// An object; `field` reads the value of each key. Stops right behind the closing brace.
    fn object(&mut self, mut field: impl FnMut(&mut Self, String) -> Result<(), Fault>) -> Result<(), Fault> {
        if !self.take(b'{') {
            return Err(self.fault("a {"));
        }
        let mut first = true;
        while self.peek() != Some(b'}') {
            if !first && !self.take(b',') {
                return Err(self.fault("a , or }"));
            }
            first = false;
            let key = self.string()?;
            if !self.take(b':') {
                return Err(self.fault("a :"));
            }
            field(self, key)?;
            self.skip_spaces();
        }
        self.at += 1;
        Ok(())
    }

    /// At most `most` whole numbers in brackets.
    fn numbers(&mut self, most: usize, what: &str) -> Result<Vec<u64>, Fault> {
        if !self.take(b'[') {
            return Err(self.fault("a ["));
        }
        let mut list = Vec::new();
        while !self.take(b']') {
            if !list.is_empty() && !self.take(b',') {
                return Err(self.fault("a , or ]"));
            }
            if list.len() == most {
                return Err(format!("has more than {most} {what}"));
            }
            list.push(self.number()?);
        }
        Ok(list)
    }

    fn number(&mut self) -> Result<u64, Fault> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        let digits = &self.text[start..self.at];
        let broken = matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        let padded = digits.len() > 1 && digits.starts_with('0');
        match digits.parse() {
            Ok(number) if !broken && !padded => Ok(number),
            _ => {
                self.at = start;
                Err(self.fault("a whole number below 2^64"))
            }
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.fault("a string"));
        }
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c| matches!(c, '"' | '\\' | '\0'..='\x1f')).unwrap_or(rest.len());
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => out.push(self.escape()?),
                _ => return Err(self.fault("the closing quote of a string")),
            }
        }
        self.at += 1;
        Ok(out)
    }

    fn escape(&mut self) -> Result<char, Fault> {
        self.at += 1;
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.fault("an escape")),
        };
        self.at += 1;
        Ok(c)
    }

    /// `uXXXX`, or two of them for what lies beyond 16 bits.
    fn unicode(&mut self) -> Result<char, Fault> {
        let first = self.code_unit()?;
        let mut units = vec![first];
        if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u") {
            self.at += 1;
            units.push(self.code_unit()?);
        }
        match char::decode_utf16(units.iter().copied()).next() {
            Some(Ok(c)) => Ok(c),
            _ => Err(self.fault("the second half of a surrogate pair")),
        }
    }

    fn code_unit(&mut self) -> Result<u16, Fault> {
        self.at += 1;
        let digits = self.text.get(self.at..self.at + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.map(|d| u16::from_str_radix(d, 16)) {
            Some(Ok(unit)) => {
                self.at += 4;
                Ok(unit)
            }
            _ => Err(self.fault("four hexadecimal digits")),
        }
    }
}

/// Writes a header: entries in the order of their data, padded with spaces to a multiple of eight bytes, with the
/// checksums filled in.
pub(super) fn write(metadata: &BTreeMap<String, String>, entries: &[Entry]) -> Vec<u8> {
    let mut out = String::from("{\"__metadata__\":{");
    write_string(&mut out, CHECKSUM);
    out.push_str(":\"");
    let own = out.len();
    out.push_str("00000000\"");
    let mut pair = |key: &str, value: &str| {
        out.push(',');
        write_string(&mut out, key);
        out.push(':');
        write_string(&mut out, value);
    };
    for entry in entries {
        pair(&format!("{CHECKSUM}:{}", entry.name), &format!("{:08x}", entry.checksum.unwrap_or(0)));
    }
    metadata.iter().for_each(|(key, value)| pair(key, value));
    out.push('}');
    let mut from = 0;
    for entry in entries {
        out.push(',');
        write_string(&mut out, &entry.name);
        let (kind, dims, to) = (entry.kind.name(), entry.shape.dims(), from + entry.len);
        // Writing to a string cannot fail.
        let _ = write!(out, ":{{\"dtype\":\"{kind}\",\"shape\":{dims:?},\"data_offsets\":[{from},{to}]}}");
        from = to;
    }
    out.push('}');
    while !out.len().is_multiple_of(8) {
        out.push(' ');
    }
    let mut bytes = out.into_bytes();
    let digits = format!("{:08x}", crc32fast::hash(&bytes));
    bytes[own..own + 8].copy_from_slice(digits.as_bytes());
    bytes
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0'..='\x1f' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
