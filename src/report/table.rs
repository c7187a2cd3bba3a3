//! A report as a table, and its three forms: text for people, JSON for programs, CSV for both.
//!
//! Amounts are whole fen in every form, so that all forms carry the same number. CSV begins with a BOM,
//! ends lines with CR LF, and guards text cells that a spreadsheet would take for a formula (OWASP ASVS
//! 1.2.10); numbers are never guarded.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::RunHead;

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Text(String),
    Int(i64),
    /// A decimal fraction, as text that is a number.
    Fraction(String),
    Bool(bool),
    Empty,
}

impl Cell {
    pub fn text(value: impl Into<String>) -> Cell {
        Cell::Text(value.into())
    }

    /// Text, or an empty cell.
    pub fn opt(value: Option<impl Into<String>>) -> Cell {
        value.map_or(Cell::Empty, |v| Cell::Text(v.into()))
    }
}

/// A report of one run.
#[derive(Clone, Debug)]
pub struct Table {
    /// `districts`, `institutions`, `breaks`, `matches`.
    pub name: &'static str,
    pub columns: &'static [&'static str],
    pub rows: Vec<Vec<Cell>>,
}

/// The forms a report can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Table,
    Json,
    Csv,
}

impl Table {
    /// Writes the report in a form.
    ///
    /// # Errors
    /// Only those of the writer.
    pub fn write(&self, form: Form, run: &RunHead, out: &mut dyn Write) -> io::Result<()> {
        match form {
            Form::Table => self.write_text(run, out),
            Form::Json => self.write_json(run, out),
            Form::Csv => self.write_csv(out),
        }
    }

    fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"\xEF\xBB\xBF")?;
        let mut csv = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer(out);
        csv.write_record(self.columns).map_err(io_error)?;
        for row in &self.rows {
            csv.write_record(row.iter().map(|cell| match cell {
                Cell::Text(text) => guarded(text),
                Cell::Int(n) => n.to_string(),
                Cell::Fraction(f) => f.clone(),
                Cell::Bool(b) => b.to_string(),
                Cell::Empty => String::new(),
            }))
            .map_err(io_error)?;
        }
        csv.flush()
    }

    fn write_json(&self, run: &RunHead, out: &mut dyn Write) -> io::Result<()> {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let cells = self.columns.iter().zip(row).map(|(name, cell)| {
                    let value = match cell {
                        Cell::Text(text) => json!(text),
                        Cell::Int(n) => json!(n),
                        Cell::Fraction(f) => json!(f),
                        Cell::Bool(b) => json!(b),
                        Cell::Empty => Value::Null,
                    };
                    ((*name).to_owned(), value)
                });
                Value::Object(cells.collect::<Map<_, _>>())
            })
            .collect();
        let report = json!({
            "schema": format!("jintuo.report.{}/1", self.name),
            "as_of": run.as_of.to_string(),
            "known_at": run.known_at.to_rfc3339(),
            "policy": run.policy,
            "policy_version": run.policy_version,
            "run_id": run.run_id,
            "rows": rows,
        });
        serde_json::to_writer(&mut *out, &report)?;
        out.write_all(b"\n")
    }

    fn write_text(&self, run: &RunHead, out: &mut dyn Write) -> io::Result<()> {
        let text = |cell: &Cell| match cell {
            Cell::Text(text) | Cell::Fraction(text) => text.clone(),
            Cell::Int(n) => n.to_string(),
            Cell::Bool(b) => b.to_string(),
            Cell::Empty => "-".to_owned(),
        };
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|r| r.iter().map(text).collect())
            .collect();
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(i, name)| {
                rows.iter()
                    .map(|r| width(&r[i]))
                    .max()
                    .unwrap_or(0)
                    .max(width(name))
            })
            .collect();
        writeln!(
            out,
            "{} as of {}, known at {}, policy {}, run {}",
            self.name,
            run.as_of,
            run.known_at.to_rfc3339(),
            run.policy,
            run.run_id
        )?;
        let header: Vec<String> = self.columns.iter().map(|c| (*c).to_owned()).collect();
        for (at, row) in std::iter::once(&header).chain(&rows).enumerate() {
            let mut line = String::new();
            for (i, value) in row.iter().enumerate() {
                let pad = " ".repeat(widths[i] - width(value));
                let number =
                    at > 0 && matches!(self.rows[at - 1][i], Cell::Int(_) | Cell::Fraction(_));
                line += &if number {
                    format!("{pad}{value}")
                } else {
                    format!("{value}{pad}")
                };
                line += "  ";
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The writer's own error, its kind kept: a closed pipe is no failure of ours.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Columns a text takes on a terminal: East Asian characters take two.
pub fn width(text: &str) -> usize {
    text.chars()
        .map(|c| match u32::from(c) {
            0x1100..=0x115F
            | 0x2E80..=0xA4CF
            | 0xAC00..=0xD7A3
            | 0xF900..=0xFAFF
            | 0xFE30..=0xFE4F
            | 0xFF00..=0xFF60
            | 0xFFE0..=0xFFE6
            | 0x20000..=0x3FFFD => 2,
            _ => 1,
        })
        .sum()
}

/// A text cell that no spreadsheet takes for a formula.
fn guarded(text: &str) -> String {
    let first = text.trim_start_matches(' ').chars().next();
    let dangerous = first.is_some_and(|c| {
        matches!(
            c,
            '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠'
        )
    });
    if dangerous {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Table {
        Table {
            name: "institutions",
            columns: &["institution_id", "required_fen", "coverage"],
            rows: vec![vec![
                Cell::text(name),
                Cell::Int(-5),
                Cell::Fraction("0.7333".into()),
            ]],
        }
    }

    fn csv(name: &str) -> String {
        let mut out = Vec::new();
        table(name).write_csv(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_has_a_bom_and_guards_text_but_not_numbers() {
        let text = csv("=HYPERLINK(\"x\")");
        assert!(text.starts_with('\u{FEFF}'));
        assert!(
            text.ends_with("\"'=HYPERLINK(\"\"x\"\")\",-5,0.7333\r\n"),
            "{text:?}"
        );
        for name in ["+1", "-1", "@a", " =1", "＝1", "\tx"] {
            assert!(csv(name).contains(&format!("'{name}")), "{name:?}");
        }
        assert!(!csv("示例机构").contains('\''));
    }

    #[test]
    fn chinese_takes_two_columns() {
        assert_eq!(width("中原区A"), 7);
    }
}
