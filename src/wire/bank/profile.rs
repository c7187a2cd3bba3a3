//! Column-mapping profiles: how a bank names the columns of its own CSV export.
//!
//! A profile is data (`profiles/*.toml`), so that a new bank needs no code: a list of header
//! synonyms per canonical column, the words that mark footers, and the words for money in and out.
//! The named profiles are tried in order; `generic`, with Chinese and English synonyms, is last.
//!
//! Perspective (`feeds.md` §1.4): on a bank's statement 贷 is money into the account; an export of
//! an institution's own books is the mirror image and says so with `perspective = "books"`. It is a
//! setting, never guessed; the running balance then confirms or refutes it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use serde::Deserialize;

use super::csv::unwrap_cell;

/// Profiles in the order they are tried.
const SOURCES: [&str; 16] = [
    include_str!("profiles/icbc.toml"),
    include_str!("profiles/abc.toml"),
    include_str!("profiles/boc.toml"),
    include_str!("profiles/boc_card.toml"),
    include_str!("profiles/ccb.toml"),
    include_str!("profiles/ccb_signed.toml"),
    include_str!("profiles/cmb.toml"),
    include_str!("profiles/cmb_card.toml"),
    include_str!("profiles/bocom.toml"),
    include_str!("profiles/bocom_card.toml"),
    include_str!("profiles/spdb.toml"),
    include_str!("profiles/citic.toml"),
    include_str!("profiles/citic_card.toml"),
    include_str!("profiles/cgb.toml"),
    include_str!("profiles/cgb_card.toml"),
    include_str!("profiles/generic.toml"),
];

/// How many records are searched for the header line.
pub(crate) const HEADER_SEARCH_ROWS: usize = 60;

/// The canonical columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Column {
    /// Booking day, perhaps with the time behind it.
    Date,
    ValueDate,
    /// Signed, or unsigned beside `Direction`.
    Amount,
    MoneyIn,
    MoneyOut,
    /// 借/贷, D/C.
    Direction,
    /// Running balance after the row.
    Balance,
    Counterparty,
    /// All matching columns, joined.
    Memo,
    /// The bank's own reference of the row.
    Reference,
    CustomerReference,
    Currency,
    Account,
    /// Transaction type.
    Code,
}

/// Whose view 借 and 贷 take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Perspective {
    #[default]
    Bank,
    Books,
}

/// One way to read a CSV export.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) name: String,
    /// Headers that must all be present.
    #[serde(default)]
    pub(crate) requires: Vec<String>,
    /// Headers that must all be absent.
    #[serde(default)]
    pub(crate) excludes: Vec<String>,
    #[serde(default)]
    pub(crate) perspective: Perspective,
    pub(crate) columns: BTreeMap<Column, Vec<String>>,
    /// Marks of `Direction` that mean 贷 and 借, from the bank's view money in and money out.
    #[serde(default)]
    pub(crate) credit_marks: Vec<String>,
    #[serde(default)]
    pub(crate) debit_marks: Vec<String>,
    /// Words that mark a row as a footer or total.
    pub(crate) footers: Vec<String>,
    /// Keys of lines before the header that carry the account, the currency, the balances.
    #[serde(default)]
    pub(crate) account_keys: Vec<String>,
    #[serde(default)]
    pub(crate) currency_keys: Vec<String>,
    #[serde(default)]
    pub(crate) opening_keys: Vec<String>,
    #[serde(default)]
    pub(crate) closing_keys: Vec<String>,
    /// Keys of the first and the last day the export covers.
    #[serde(default)]
    pub(crate) from_keys: Vec<String>,
    #[serde(default)]
    pub(crate) to_keys: Vec<String>,
    /// Keys of both days in one value, `20251201-20251231`.
    #[serde(default)]
    pub(crate) range_keys: Vec<String>,
    /// Whether days carry no year, which then is the one nearest to the month in the title.
    #[serde(default)]
    pub(crate) days_of_month: bool,
    /// What a reader of every such file should know; a card bill states what its holder owes.
    pub(crate) remark: Option<String>,
    /// Currency of a file that names none; absent = none is assumed.
    pub(crate) default_currency: Option<String>,
}

/// A header line bound to a profile: which cell holds which column.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) profile: &'static Profile,
    cells: BTreeMap<Column, Vec<usize>>,
}

/// Where the header line stands in a text.
#[derive(Clone, Debug)]
pub(crate) struct HeaderPlace {
    pub(crate) delimiter: u8,
    pub(crate) header: Range<usize>,
    /// Its number counted from 1.
    pub(crate) header_line: u64,
}

static PROFILES: LazyLock<Vec<Profile>> = LazyLock::new(|| {
    SOURCES
        .iter()
        .map(|source| Profile::parse(source).expect("a test parses every embedded profile"))
        .collect()
});

impl Profile {
    /// Reads a profile and brings its words into the form of [`key`].
    pub(crate) fn parse(source: &str) -> Result<Profile, toml::de::Error> {
        let mut profile: Profile = toml::from_str(source)?;
        let lists = [
            &mut profile.requires,
            &mut profile.excludes,
            &mut profile.credit_marks,
            &mut profile.debit_marks,
            &mut profile.footers,
            &mut profile.account_keys,
            &mut profile.currency_keys,
            &mut profile.opening_keys,
            &mut profile.closing_keys,
            &mut profile.from_keys,
            &mut profile.to_keys,
            &mut profile.range_keys,
        ];
        for word in lists
            .into_iter()
            .chain(profile.columns.values_mut())
            .flatten()
        {
            *word = key(word);
        }
        Ok(profile)
    }
}

impl Binding {
    /// The cells of a column, empty if the header has none.
    pub(crate) fn cells(&self, column: Column) -> &[usize] {
        self.cells.get(&column).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn has(&self, column: Column) -> bool {
        self.cells.contains_key(&column)
    }
}

/// Looks for the header line and its profile: the first line that fits a profile, with any of the
/// delimiters in use.
pub(crate) fn detect(text: &str) -> Option<(Binding, HeaderPlace)> {
    for delimiter in *b",\t;" {
        let mut start = 0;
        let mut tried = 0;
        for (number, line) in (1_u64..).zip(text.split_inclusive('\n')) {
            let span = start..start + line.len();
            start = span.end;
            // Blank lines and prose of a preamble do not count towards the limit.
            if !line.contains(char::from(delimiter)) {
                continue;
            }
            tried += 1;
            if tried > HEADER_SEARCH_ROWS {
                break;
            }
            if let Some(binding) = bind(&split(line, delimiter)) {
                let place = HeaderPlace {
                    delimiter,
                    header: span,
                    header_line: number,
                };
                return Some((binding, place));
            }
        }
    }
    None
}

/// Binds a header line to the first profile that fits it.
pub(crate) fn bind(header: &[String]) -> Option<Binding> {
    let header: Vec<String> = (header.iter())
        .map(|name| key(&unwrap_cell(name)))
        .collect();
    PROFILES
        .iter()
        .find_map(|profile| bind_to(profile, &header))
}

/// Binds a header, in the form of [`key`], to one profile.
pub(crate) fn bind_to(profile: &'static Profile, header: &[String]) -> Option<Binding> {
    let present = |name: &String| header.contains(name);
    if !profile.requires.iter().all(present) || profile.excludes.iter().any(present) {
        return None;
    }
    let mut cells = BTreeMap::new();
    for (column, synonyms) in &profile.columns {
        let found = synonyms
            .iter()
            .filter_map(|synonym| header.iter().position(|name| name == synonym));
        let wanted = if *column == Column::Memo {
            header.len()
        } else {
            1
        };
        let found: Vec<usize> = found.take(wanted).collect();
        if !found.is_empty() {
            cells.insert(*column, found);
        }
    }
    let binding = Binding { profile, cells };
    let two_sided = binding.has(Column::MoneyIn) && binding.has(Column::MoneyOut);
    (binding.has(Column::Date) && (binding.has(Column::Amount) || two_sided)).then_some(binding)
}

/// The cells of one line.
pub(crate) fn split(line: &str, delimiter: u8) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .delimiter(delimiter)
        .from_reader(line.as_bytes());
    let mut record = csv::StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(true) => record.iter().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// A header, key or mark for comparison: no white space, half-width brackets and colon, lower case.
pub(crate) fn key(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '\u{feff}' | '\u{200b}' | '"' | '*'))
        .map(|c| match c {
            '（' => '(',
            '）' => ')',
            '：' => ':',
            '／' => '/',
            other => other,
        })
        .flat_map(char::to_lowercase)
        .collect()
}

/// The ISO 4217 code of a currency as banks write it, the text itself if it is one already.
pub(crate) fn currency_code(text: &str) -> Option<String> {
    const NAMES: [(&str, &[&str]); 7] = [
        (
            "CNY",
            &["人民币", "人民币元", "rmb", "cny", "元", "156", "本币"],
        ),
        ("USD", &["美元", "usd", "840"]),
        ("HKD", &["港币", "港元", "hkd", "344"]),
        ("EUR", &["欧元", "eur", "978"]),
        ("JPY", &["日元", "日圆", "jpy", "392"]),
        ("GBP", &["英镑", "gbp", "826"]),
        ("AUD", &["澳元", "澳大利亚元", "aud", "036"]),
    ];
    let name = key(text);
    if let Some((code, _)) = NAMES
        .iter()
        .find(|(_, names)| names.contains(&name.as_str()))
    {
        return Some((*code).to_owned());
    }
    (name.len() == 3 && name.bytes().all(|b| b.is_ascii_alphabetic()))
        .then(|| name.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(header: &str) -> Option<&'static str> {
        detect(header).map(|(binding, _)| binding.profile.name.as_str())
    }

    #[test]
    fn every_embedded_profile_parses_and_can_be_met() {
        let names: Vec<&str> = PROFILES.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "icbc",
                "abc",
                "boc",
                "boc_card",
                "ccb",
                "ccb_signed",
                "cmb",
                "cmb_card",
                "bocom",
                "bocom_card",
                "spdb",
                "citic",
                "citic_card",
                "cgb",
                "cgb_card",
                "generic"
            ]
        );
        for profile in PROFILES.iter() {
            assert!(
                profile.columns.contains_key(&Column::Date),
                "{}",
                profile.name
            );
        }
    }

    #[test]
    fn headers_find_their_profile() {
        assert_eq!(
            name("交易日期,交易时间,交易摘要,交易金额,本次余额,对手信息,日 志 号"),
            Some("abc")
        );
        assert_eq!(
            name("账号,6217\n日期,收入,支出,余额,摘要\n"),
            Some("generic")
        );
        assert_eq!(name("Date;Description;Amount;Currency"), Some("generic"));
        assert_eq!(name("交易时间,金额(元),收/支,交易单号"), None);
        assert_eq!(name("a,b\n1,2"), None);
    }

    #[test]
    fn currencies_in_words() {
        assert_eq!(currency_code("人民币 ").as_deref(), Some("CNY"));
        assert_eq!(currency_code("sek").as_deref(), Some("SEK"));
        assert_eq!(currency_code("-"), None);
    }
}
