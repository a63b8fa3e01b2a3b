//! Reading a long log from its end, and by number, without reading all of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::chain::Line;

const CHUNK: u64 = 64 * 1024;

/// The lines of the first `end` bytes of a file, the last first. Those bytes end with a newline, or are none.
#[derive(Debug)]
pub(super) struct ReverseLines<'a> {
    file: &'a File,
    /// Where `buffer` begins in the file.
    start: u64,
    /// What was read and not given out yet, whole lines behind the first newline.
    buffer: Vec<u8>,
    chunk: u64,
}

impl<'a> ReverseLines<'a> {
    pub(super) fn new(file: &'a File, end: u64) -> Self {
        Self { file, start: end, buffer: Vec::new(), chunk: CHUNK }
    }

    /// The next line towards the beginning, without its newline; `None` at the beginning.
    pub(super) fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            // The newline that ends the last line in the buffer is not the one that begins it.
            let searched = self.buffer.len().saturating_sub(1);
            if let Some(newline) = memchr::memrchr(b'\n', &self.buffer[..searched]) {
                let mut line = self.buffer.split_off(newline + 1);
                line.pop();
                self.chunk = CHUNK;
                return Ok(Some(line));
            }
            if self.start == 0 {
                let mut line = std::mem::take(&mut self.buffer);
                return Ok(line.pop().map(|_newline| line));
            }
            self.read_back()?;
        }
    }

    fn read_back(&mut self) -> io::Result<()> {
        let size = self.chunk.min(self.start);
        // Lines longer than a chunk are rare, but a log of nothing else must not take quadratic time.
        self.chunk = self.chunk.saturating_mul(2);
        let mut chunk = read_at(self.file, self.start - size, size)?;
        chunk.append(&mut self.buffer);
        self.buffer = chunk;
        self.start -= size;
        Ok(())
    }
}

/// Where the last whole line ends in the first `end` bytes: just behind the last newline.
pub(super) fn end_of_lines(file: &File, end: u64) -> io::Result<u64> {
    let mut start = end;
    while start > 0 {
        let size = CHUNK.min(start);
        let chunk = read_at(file, start - size, size)?;
        if let Some(newline) = memchr::memrchr(b'\n', &chunk) {
            return Ok(start - size + newline as u64 + 1);
        }
        start -= size;
    }
    Ok(0)
}

/// The first NUL byte in the last `window` bytes before `end`. No record has one: it is a block that was never written.
pub(super) fn first_nul(file: &File, end: u64, window: u64) -> io::Result<Option<u64>> {
    let start = end.saturating_sub(window);
    let bytes = read_at(file, start, end - start)?;
    Ok(memchr::memchr(0, &bytes).map(|position| start + position as u64))
}

/// The line with that number, found by bisection: numbers only grow. `None` if it is not where it should be.
pub(super) fn find_line(file: &File, end: u64, seq: u64) -> io::Result<Option<Vec<u8>>> {
    let (mut low, mut high) = (0, end);
    while high - low > CHUNK {
        let middle = low + (high - low) / 2;
        let Some((start, line)) = line_after(file, middle, high)? else {
            high = middle;
            continue;
        };
        match Line::parse(&line).map(|line| line.anchor.seq) {
            Ok(found) if found == seq => return Ok(Some(line)),
            Ok(found) if found < seq => low = start,
            Ok(_) => high = middle,
            Err(_) => return Ok(None),
        }
    }
    // The line before `high` may begin before it and end behind it.
    let mut lines = ReverseLines::new(file, end_of_line_at(file, high, end)?);
    while let Some(line) = lines.next_line()? {
        match Line::parse(&line).map(|line| line.anchor.seq) {
            Ok(found) if found == seq => return Ok(Some(line)),
            Ok(found) if found > seq => {}
            _ => break,
        }
    }
    Ok(None)
}

/// The first whole line that begins behind `offset` and before `end`, and where.
fn line_after(file: &File, offset: u64, end: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let start = end_of_line_at(file, offset, end)?;
    if start >= end {
        return Ok(None);
    }
    let length = file.metadata()?.len();
    let stop = end_of_line_at(file, start, length)?;
    let mut line = read_at(file, start, stop - start)?;
    line.pop();
    Ok(Some((start, line)))
}

/// Just behind the first newline at or behind `offset`; `end` if there is none before it.
fn end_of_line_at(file: &File, offset: u64, end: u64) -> io::Result<u64> {
    let mut start = offset;
    while start < end {
        let size = CHUNK.min(end - start);
        let chunk = read_at(file, start, size)?;
        if let Some(newline) = memchr::memchr(b'\n', &chunk) {
            return Ok(start + newline as u64 + 1);
        }
        start += size;
    }
    Ok(end)
}

fn read_at(file: &File, offset: u64, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}
