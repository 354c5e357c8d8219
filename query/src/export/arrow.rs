//! Arrow's IPC stream. Not compressed: not every client reads that.

use super::{Format, cannot_hold};
use crate::error::Result;
use datafusion::arrow::{array::RecordBatch, datatypes::Schema, ipc::writer::StreamWriter};
use std::io;

pub(super) struct ArrowStream(StreamWriter<Vec<u8>>);

impl ArrowStream {
    pub(super) fn new(schema: &Schema) -> Result<Self> {
        let writer = StreamWriter::try_new(Vec::new(), schema);
        Ok(Self(writer.map_err(|error| cannot_hold(Format::Arrow, &error))?))
    }

    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        self.0.get_mut()
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        self.0.write(batch).map_err(io::Error::other)
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.0.finish().map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use datafusion::arrow::ipc::reader::StreamReader;
    use std::mem;

    #[test]
    fn what_was_taken_in_pieces_is_read_back() {
        for batch in [sample::readings(), sample::all_types()] {
            let mut arrow = ArrowStream::new(&batch.schema()).unwrap();
            let mut bytes = mem::take(arrow.bytes());
            for piece in [batch.slice(0, 1), batch.slice(1, batch.num_rows() - 1)] {
                arrow.batch(&piece).unwrap();
                bytes.append(arrow.bytes());
            }
            arrow.finish().unwrap();
            bytes.append(arrow.bytes());
            let read: Vec<_> = StreamReader::try_new(bytes.as_slice(), None)
                .unwrap()
                .map(std::result::Result::unwrap)
                .collect();
            sample::assert_same(&read, &batch);
        }
    }
}
