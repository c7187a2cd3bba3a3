//! The only choice of amounts that adds up to a sum, by listing the sums of both halves. Pure.
//!
//! Exact: every choice is counted. The cost is that of 2^(n/2) sums, whatever the amounts are, so a caller
//! bounds n. Equal amounts of different payments are different choices: which of them it was is then unknown.

/// What the amounts say of a sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    None,
    /// Places of the amounts chosen, in order.
    One(Vec<usize>),
    /// More than one; the places that occur in those looked at.
    Many(Vec<usize>),
}

/// How many choices are spelled out where there are several.
const SPELLED_MAX: usize = 8;

/// The choices of at least one amount that add up to `target`. Amounts are positive.
///
/// # Panics
/// For more than 32 amounts: the caller has a bound.
pub(super) fn choose(amounts: &[i64], target: i64) -> Choice {
    assert!(amounts.len() <= 32, "a subset search is bounded");
    if target <= 0 {
        return Choice::None;
    }
    let (left, right) = amounts.split_at(amounts.len() / 2);
    let mut sums = sums(right);
    sums.sort_unstable();
    let mut found: Vec<u32> = Vec::new();
    for (sum, mask) in self::sums(left) {
        let rest = target - sum;
        let from = sums.partition_point(|(s, _)| *s < rest);
        let equal = sums[from..].iter().take_while(|(s, _)| *s == rest);
        let whole = |right: u32| mask | (right << left.len());
        found.extend(equal.take(SPELLED_MAX + 1).map(|(_, m)| whole(*m)));
        if found.len() > SPELLED_MAX {
            break;
        }
    }
    let places = |masks: &[u32]| {
        let any = masks.iter().fold(0, |all, m| all | m);
        (0..amounts.len()).filter(|i| any & (1 << i) != 0).collect()
    };
    match found.len() {
        0 => Choice::None,
        1 => Choice::One(places(&found)),
        _ => Choice::Many(places(&found)),
    }
}

/// The sum of every choice of amounts, with the choice as bits.
fn sums(amounts: &[i64]) -> Vec<(i64, u32)> {
    let mut sums = Vec::with_capacity(1 << amounts.len());
    sums.push((0_i64, 0_u32));
    for (at, amount) in amounts.iter().enumerate() {
        for i in 0..sums.len() {
            let (sum, mask) = sums[i];
            sums.push((sum.saturating_add(*amount), mask | (1 << at)));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_choice_is_found_and_several_are_told() {
        assert_eq!(choose(&[100, 250, 30], 130), Choice::One(vec![0, 2]));
        assert_eq!(choose(&[100, 250, 30], 131), Choice::None);
        assert_eq!(choose(&[100, 100, 30], 130), Choice::Many(vec![0, 1, 2]));
        assert_eq!(
            choose(&[100, 30], 0),
            Choice::None,
            "nobody settles nothing"
        );
        assert_eq!(choose(&[], 5), Choice::None);
    }

    proptest! {
        #[test]
        fn it_agrees_with_trying_every_choice(
            amounts in prop::collection::vec(1_i64..40, 0..11),
            target in 0_i64..120,
        ) {
            let tried: Vec<u32> = (1_u32..1 << amounts.len())
                .filter(|mask| {
                    let chosen = (0..amounts.len()).filter(|i| mask & (1 << i) != 0);
                    chosen.map(|i| amounts[i]).sum::<i64>() == target
                })
                .collect();
            match choose(&amounts, target) {
                Choice::None => prop_assert_eq!(tried.len(), 0),
                Choice::One(places) => {
                    prop_assert_eq!(tried.len(), 1);
                    let mask = places.iter().fold(0_u32, |m, i| m | (1 << i));
                    prop_assert_eq!(mask, tried[0]);
                }
                Choice::Many(_) => prop_assert!(tried.len() > 1),
            }
        }
    }
}
