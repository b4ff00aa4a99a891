//! Values out of a fuzzer's bytes.

/// What is left of the bytes. Past their end there are zeros, so that every input means something.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Input(bytes)
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(super) fn two_bytes(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub(super) fn four_bytes(&mut self) -> u32 {
        u32::from(self.two_bytes()) << 16 | u32::from(self.two_bytes())
    }

    /// The next `most` bytes, or fewer.
    pub(super) fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// One of `choices`, which must not be empty.
    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// A text of up to 31 bytes, or of so many times 4,096: longer than a string may be on the wire.
    pub(super) fn text(&mut self) -> String {
        let head = self.byte();
        let text = String::from_utf8_lossy(self.take((head & 0x1F).into()));
        // What is no character of a topic is another target's.
        let text: String = text
            .chars()
            .filter(|c| !['\0', '+', '#'].contains(c))
            .collect();
        match head >> 5 {
            7 => text.repeat(4_096),
            _ => text,
        }
    }

    /// A value, or none.
    pub(super) fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| value(self))
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }
}
