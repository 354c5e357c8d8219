//! What is kept of one group, or of many, as DataFusion asks for it.

use super::aggregate::{Answer, Columns, Kept};
use crate::error::{QueryError, Result};
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, new_empty_array},
        buffer::OffsetBuffer,
        datatypes::DataType,
    },
    logical_expr::{Accumulator, EmitTo, GroupsAccumulator},
    scalar::ScalarValue,
};
use std::{fmt, sync::Arc};

/// One group: no GROUP BY, or a window.
pub struct Single<K> {
    pub kept: K,
    pub answer: Answer<K>,
    pub share: f64,
}

impl<K: Kept> fmt::Debug for Single<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kept.fmt(f)
    }
}

impl<K: Kept> Accumulator for Single<K> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> datafusion::error::Result<()> {
        let columns = Columns::of(values)?;
        for at in 0..columns.rows() {
            self.kept.take(&columns.row(at))?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> datafusion::error::Result<ScalarValue> {
        Ok((self.answer)(&self.kept, self.share)?)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.kept.heap_bytes()
    }

    fn state(&mut self) -> datafusion::error::Result<Vec<ScalarValue>> {
        let mut bytes = Vec::new();
        self.kept.write(&mut bytes);
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, parts: &[ArrayRef]) -> datafusion::error::Result<()> {
        for bytes in written(parts)?.iter().flatten() {
            self.kept.join(bytes)?;
        }
        Ok(())
    }
}

/// Many groups, by their numbers.
pub struct Grouped<K> {
    pub kept: Vec<K>,
    pub heap_bytes: usize,
    pub answer: Answer<K>,
    pub share: f64,
    pub returns: DataType,
}

impl<K: Kept> Grouped<K> {
    fn each(
        &mut self,
        groups: &[usize],
        total: usize,
        mut work: impl FnMut(&mut K, usize) -> Result<()>,
    ) -> Result<()> {
        self.kept.resize_with(total.max(self.kept.len()), K::default);
        for (at, group) in groups.iter().enumerate() {
            let kept = &mut self.kept[*group];
            let before = kept.heap_bytes();
            work(kept, at)?;
            self.heap_bytes = self.heap_bytes - before + kept.heap_bytes();
        }
        Ok(())
    }

    fn emit(&mut self, emit_to: EmitTo) -> Vec<K> {
        let emitted = emit_to.take_needed(&mut self.kept);
        self.heap_bytes -= emitted.iter().map(Kept::heap_bytes).sum::<usize>();
        emitted
    }
}

impl<K: Kept> GroupsAccumulator for Grouped<K> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> datafusion::error::Result<()> {
        let columns = Columns::of(values)?;
        let taken = self.each(group_indices, total_num_groups, |kept, at| match passes(opt_filter, at) {
            true => kept.take(&columns.row(at)),
            false => Ok(()),
        });
        Ok(taken?)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> datafusion::error::Result<ArrayRef> {
        let answers = self.emit(emit_to);
        if answers.is_empty() {
            return Ok(new_empty_array(&self.returns));
        }
        let answers = answers.iter().map(|kept| (self.answer)(kept, self.share));
        ScalarValue::iter_to_array(answers.collect::<Result<Vec<_>>>()?)
    }

    fn state(&mut self, emit_to: EmitTo) -> datafusion::error::Result<Vec<ArrayRef>> {
        Ok(vec![parts(self.emit(emit_to).iter())?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> datafusion::error::Result<()> {
        let written = written(values)?;
        let joined = self.each(group_indices, total_num_groups, |kept, at| match written.is_valid(at) {
            true => kept.join(written.value(at)),
            false => Ok(()),
        });
        Ok(joined?)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> datafusion::error::Result<Vec<ArrayRef>> {
        let columns = Columns::of(values)?;
        let mut each = Vec::with_capacity(columns.rows());
        for at in 0..columns.rows() {
            let mut kept = K::default();
            if passes(opt_filter, at) {
                kept.take(&columns.row(at))?;
            }
            each.push(kept);
        }
        Ok(vec![parts(each.iter())?])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.kept.capacity() * size_of::<K>() + self.heap_bytes
    }
}

fn passes(filter: Option<&BooleanArray>, at: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(at) && filter.value(at))
}

fn written(parts: &[ArrayRef]) -> Result<&BinaryArray> {
    let written = parts.first().and_then(|array| array.as_binary_opt());
    written.ok_or_else(|| QueryError::Internal("parts of an aggregate of another type".into()))
}

/// What groups wrote, one after the other.
fn parts<'k, K: Kept>(groups: impl Iterator<Item = &'k K>) -> Result<ArrayRef> {
    let (mut bytes, mut ends) = (Vec::new(), vec![0_i32]);
    for kept in groups {
        kept.write(&mut bytes);
        // Arrow counts them in an int4.
        let end = i32::try_from(bytes.len()).map_err(|_| {
            QueryError::Exhausted(
                "states of 2 GB at once: ask for a shorter time range or fewer series".into(),
            )
        })?;
        ends.push(end);
    }
    let array = BinaryArray::try_new(OffsetBuffer::new(ends.into()), bytes.into(), None)?;
    Ok(Arc::new(array))
}
