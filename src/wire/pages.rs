//! Pages of one statement: SWIFT closes a page with `:62M:` and opens the next with `:60M:`, camt closes
//! and opens with `ITBD`.
//!
//! The parsers keep each page a statement of its own, since each page proves itself. A day, and the
//! running number of an entry among its equals, belong to the whole: intake joins the pages first.
//! Where pages are numbered only the next one follows; where they are not, the amounts alone decide.
//! Absent on purpose: joining pages that do not meet in one amount; [`super::continuity`] names those.

use super::{Balance, Statement};

/// Joins the pages of each account and currency, in whatever order they came. What is whole comes in the order in
/// which it became so, pages without their neighbours after it.
pub fn join_pages(statements: Vec<Statement>) -> Vec<Statement> {
    let mut chains = Chains::default();
    let mut whole: Vec<Statement> = (statements.into_iter())
        .filter_map(|statement| chains.take(statement))
        .collect();
    whole.extend(chains.finish());
    whole
}

/// Pages that wait for their neighbours while statements are read one by one.
#[derive(Default)]
pub(super) struct Chains {
    held: Vec<Statement>,
}

impl Chains {
    /// Takes the next statement; gives it, or what its pages make together, once nothing is missing.
    pub(super) fn take(&mut self, statement: Statement) -> Option<Statement> {
        if !is_page(&statement) {
            return Some(statement);
        }
        let mut chain = statement;
        let mut place = self.held.len();
        if let Some(before) = self.held.iter().position(|held| follows(held, &chain)) {
            chain = joined(self.held.remove(before), chain);
            place = before;
        }
        while let Some(after) = self.held.iter().position(|held| follows(&chain, held)) {
            chain = joined(chain, self.held.remove(after));
            place -= usize::from(after < place);
        }
        if is_page(&chain) {
            self.held.insert(place, chain);
            return None;
        }
        Some(chain)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Entries of all that wait.
    pub(super) fn entries(&self) -> usize {
        self.held.iter().map(|s| s.entries.len()).sum()
    }

    /// What has waited in vain.
    pub(super) fn finish(self) -> Vec<Statement> {
        self.held
    }
}

fn joined(mut first: Statement, second: Statement) -> Statement {
    first.entries.extend(second.entries);
    first.closing = second.closing;
    first.pages = first.pages.zip(second.pages).map(|(a, b)| (a.0, b.1));
    first.unordered |= second.unordered;
    first.made_at = first.made_at.max(second.made_at);
    first.period = first.period.zip(second.period).map(|(a, b)| (a.0, b.1));
    first
}

/// Whether the second is the page behind the first.
fn follows(first: &Statement, second: &Statement) -> bool {
    (&first.account, &first.currency) == (&second.account, &second.currency) && meets(first, second)
}

/// Whether a statement is a page whose neighbour is missing.
pub fn is_page(statement: &Statement) -> bool {
    let ends = [&statement.opening, &statement.closing];
    ends.into_iter().flatten().any(is_interim)
}

/// Whether a balance stands between two pages.
pub(crate) fn is_interim(balance: &Balance) -> bool {
    matches!(balance.kind.as_str(), "60M" | "62M" | "ITBD")
}

/// Whether the second may be the page behind the first: the amounts meet, and where both say which page of which
/// statement they are, it is the next of the same one. A page without a net movement has its neighbours' amounts.
fn meets(first: &Statement, second: &Statement) -> bool {
    if let (Some((_, last)), Some((next, _))) = (first.pages, second.pages)
        && (last.checked_add(1) != Some(next) || of_number(first) != of_number(second))
    {
        return false;
    }
    match (&first.closing, &second.opening) {
        (Some(closing), Some(opening)) => {
            is_interim(closing) && is_interim(opening) && closing.amount == opening.amount
        }
        _ => false,
    }
}

/// The number of the statement without that of the page. Pages of camt have ids of their own.
fn of_number(statement: &Statement) -> Option<&str> {
    let number = statement
        .number
        .as_deref()
        .filter(|_| statement.format.starts_with("mt"));
    number.map(|n| n.split_once('/').map_or(n, |(of, _)| of))
}

#[cfg(test)]
mod tests {
    use super::super::{Format, daily_balances, parse};
    use super::*;

    #[test]
    fn pages_of_interleaved_accounts_become_whole_days() {
        let page = |account: &str, page: &str, opening: &str, amount: &str, closing: &str| {
            format!(
                ":20:S\n:25:{account}\n:28C:9/{page}\n:60{opening}\n\
                 :61:2606040604C{amount},NTRF\n:62{closing}\n-\n"
            )
        };
        let text = page("1", "1", "F:C260603CNY1,", "2", "M:C260604CNY3,")
            + &page("2", "1", "F:C260603CNY1,", "2", "M:C260604CNY3,")
            + &page("1", "2", "M:C260604CNY3,", "2", "F:C260604CNY5,")
            + &page("2", "2", "M:C260604CNY4,", "2", "F:C260604CNY6,");
        let (statements, defects) = parse(Format::Mt940, text.as_bytes());
        assert_eq!((statements.len(), defects.len()), (4, 0));
        let joined = join_pages(statements);
        let counts: Vec<usize> = joined.iter().map(|s| s.entries.len()).collect();
        assert_eq!(counts, [2, 1, 1]);
        let days = daily_balances(&joined[0]).unwrap();
        let fen: Vec<_> = days.iter().map(|(_, o, c)| (o.fen(), c.fen())).collect();
        assert_eq!(fen, [(100, 500)]);
        assert!(!is_page(&joined[0]) && is_page(&joined[1]) && is_page(&joined[2]));
    }

    #[test]
    fn pages_that_came_in_any_order_are_joined() {
        let page = |page: &str, opening: &str, amount: &str, closing: &str| {
            format!(
                ":20:S\n:25:1\n:28C:9/{page}\n:60{opening}\n\
                 :61:2606040604C{amount},NTRF\n:62{closing}\n-\n"
            )
        };
        let text = page("3", "M:C260604CNY5,", "2", "F:C260604CNY7,")
            + &page("2", "M:C260604CNY3,", "2", "M:C260604CNY5,")
            + &page("1", "F:C260603CNY1,", "2", "M:C260604CNY3,");
        let (statements, _) = parse(Format::Mt940, text.as_bytes());
        let joined = join_pages(statements);
        assert_eq!(joined.len(), 1);
        assert_eq!(joined[0].entries.len(), 3);
        let days = daily_balances(&joined[0]).unwrap();
        assert_eq!((days[0].1.fen(), days[0].2.fen()), (100, 700));
        let mut chains = Chains::default();
        let (statements, _) = parse(Format::Mt940, text.as_bytes());
        let whole: Vec<Statement> = (statements.into_iter())
            .filter_map(|s| chains.take(s))
            .collect();
        assert_eq!(whole, joined);
        assert_eq!((chains.len(), chains.entries()), (0, 0));
    }

    #[test]
    fn a_page_without_its_neighbour_waits_to_the_end() {
        let text = ":20:S\n:25:1\n:28C:9/2\n:60M:C260604CNY3,\n:61:2606040604C2,NTRF\n\
                    :62M:C260604CNY5,\n-\n:20:S\n:25:2\n:28C:1\n:60F:C260603CNY1,\n:62F:C260604CNY1,\n-\n";
        let (statements, _) = parse(Format::Mt940, text.as_bytes());
        let mut chains = Chains::default();
        let whole: Vec<Option<String>> = (statements.into_iter())
            .filter_map(|s| chains.take(s))
            .map(|s| s.account)
            .collect();
        assert_eq!(whole, [Some("2".to_owned())]);
        assert_eq!((chains.len(), chains.entries()), (1, 1));
        assert!(is_page(&chains.finish()[0]));
    }
}
