//! Numbers, days and texts as bytes: seven bits a byte, small ones in one.

use crate::base::{Day, Money};

/// Bytes being written.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Seven bits a byte, the sign folded in.
    pub(super) fn int(&mut self, n: i64) {
        let mut rest = ((n << 1) ^ (n >> 63)) as u64;
        while rest >= 0x80 {
            self.0.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        self.0.push(rest.to_le_bytes()[0]);
    }

    pub(super) fn bool(&mut self, b: bool) {
        self.0.push(u8::from(b));
    }

    pub(super) fn money(&mut self, m: Money) {
        self.int(m.fen());
    }

    pub(super) fn day(&mut self, day: Day) {
        self.int(i64::from(day.epoch()));
    }

    pub(super) fn opt_day(&mut self, day: Option<Day>) {
        self.int(day.map_or(0, |day| i64::from(day.epoch()) + 1));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.len(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn len(&mut self, n: usize) {
        self.int(i64::try_from(n).unwrap_or(i64::MAX));
    }

    pub(super) fn list<T>(&mut self, list: &[T], mut one: impl FnMut(&mut Writer, &T)) {
        self.len(list.len());
        list.iter().for_each(|x| one(self, x));
    }
}

/// Bytes being read; `None` from any of its functions where they are not what was written.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(super) fn int(&mut self) -> Option<i64> {
        let (mut n, mut shift) = (0_u64, 0_u32);
        loop {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some((n >> 1) as i64 ^ -((n & 1) as i64));
            }
            shift += 7;
        }
    }

    pub(super) fn bool(&mut self) -> Option<bool> {
        Some(self.byte()? != 0)
    }

    pub(super) fn money(&mut self) -> Option<Money> {
        self.int().map(Money::from_fen)
    }

    pub(super) fn day(&mut self) -> Option<Day> {
        i32::try_from(self.int()?).ok().map(Day::from_epoch)
    }

    pub(super) fn opt_day(&mut self) -> Option<Option<Day>> {
        let n = self.int()?;
        if n == 0 {
            return Some(None);
        }
        i32::try_from(n - 1).ok().map(|n| Some(Day::from_epoch(n)))
    }

    pub(super) fn len(&mut self) -> Option<usize> {
        let n = usize::try_from(self.int()?).ok()?;
        // A list has a byte an element at least.
        (n <= self.bytes.len() - self.at).then_some(n)
    }

    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let slice = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(slice)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let n = self.len()?;
        std::str::from_utf8(self.take(n)?).ok()
    }

    pub(super) fn list<T>(
        &mut self,
        mut one: impl FnMut(&mut Reader<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let n = self.len()?;
        (0..n).map(|_| one(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let numbers = [0, 1, -1, 63, 64, -64, -65, 1 << 40, i64::MAX, i64::MIN];
        let mut w = Writer(Vec::new());
        numbers.iter().for_each(|n| w.int(*n));
        let mut r = Reader { bytes: &w.0, at: 0 };
        assert_eq!(numbers.map(|_| r.int().unwrap()), numbers);
        assert_eq!(r.int(), None);
    }
}
