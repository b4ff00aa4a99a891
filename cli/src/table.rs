//! Tables for people.

use std::io::{self, Write};

/// Writes a heading and rows in columns that are as wide as their widest cell, in characters, and
/// two spaces apart.
pub(crate) fn write<const N: usize>(
    out: &mut impl Write,
    heading: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> io::Result<()> {
    let mut lines = vec![heading.map(str::to_owned)];
    lines.extend(rows);
    let width = |column: usize| {
        lines
            .iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    for row in lines {
        let mut text = String::new();
        for (cell, width) in row.iter().zip(widths) {
            text.push_str(cell);
            let gap = width.saturating_sub(cell.chars().count()) + 2;
            text.extend(std::iter::repeat_n(' ', gap));
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_clean() {
        let mut out = Vec::new();
        let rows = [["alice", "online"], ["zoë", ""]].map(|row| row.map(str::to_owned));
        write(&mut out, ["USER", "STATE"], rows.into_iter()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "USER   STATE\nalice  online\nzoë\n"
        );
    }
}
