//! Tables for people.

use std::io::{self, Write};

/// Writes rows in columns that are as wide as their widest cell, in characters, and two spaces
/// apart. The first row is the heading.
pub(crate) fn write<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
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
        let rows =
            [["USER", "STATE"], ["alice", "online"], ["zoë", ""]].map(|r| r.map(str::to_owned));
        write(&mut out, &rows).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "USER   STATE\nalice  online\nzoë\n"
        );
    }
}
