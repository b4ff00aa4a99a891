//! The data representations of MQTT (1.5), by hand.

/// Appends a variable byte integer.
pub fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value % 128).expect("below 128");
        value /= 128;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends a string or binary data with its two bytes of length.
pub fn put_string(out: &mut Vec<u8>, text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    let length = u16::try_from(text.len()).expect("at most 65,535 bytes");
    out.extend(length.to_be_bytes());
    out.extend(text);
}

/// A whole packet: the first byte, the remaining length, the body.
pub fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    put_varint(&mut out, body.len());
    out.extend(body);
    out
}

/// Takes bytes from the front of a packet's body.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        assert!(
            count <= self.0.len(),
            "the server's packet ends {} bytes too early",
            count - self.0.len()
        );
        let (front, rest) = self.0.split_at(count);
        self.0 = rest;
        front
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().expect("two bytes"))
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    pub(super) fn varint(&mut self) -> usize {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8();
            value |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        panic!("the server sent a variable byte integer of more than four bytes");
    }

    pub(super) fn binary(&mut self) -> Vec<u8> {
        let length = usize::from(self.u16());
        self.take(length).to_vec()
    }

    pub(super) fn string(&mut self) -> String {
        String::from_utf8(self.binary()).expect("strings of the server are UTF-8")
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        self.take(self.0.len())
    }
}
