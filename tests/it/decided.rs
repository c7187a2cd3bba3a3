//! Random facts and random decisions of people: a line is claimed once, nothing depends on order, what is kept apart
//! never meets by a rule, and a position changes through matches only.

use std::collections::BTreeSet;

use jintuo::base::{AccountNo, FlagCode, InstId, Money};
use jintuo::decision::{About, Decision, DecisionId, DecisionKind, Member, Said, Side, Step};
use jintuo::policy::Policy;
use jintuo::position::measure;
use jintuo::reconcile::{By, Facts, Matching, match_lines};
use jintuo::registry::{Account, AccountKind, Institution, Prepays};
use proptest::prelude::*;

use crate::bundle::Chance;
use crate::harness::day;
use crate::properties::{LAST, Move, facts, moves, sent_once};

/// A decision about movements by their numbers; `slip` gives a member another amount than it has.
#[derive(Clone, Debug)]
struct Word {
    kind: u8,
    payments: Vec<prop::sample::Index>,
    credits: Vec<prop::sample::Index>,
    slip: bool,
    expires: Option<i32>,
}

fn words() -> impl Strategy<Value = Vec<Word>> {
    let places = || prop::collection::vec(any::<prop::sample::Index>(), 1..4);
    let expires = prop::option::of(-2..3_i32);
    let one = (
        0..4_u8,
        places(),
        places(),
        prop::bool::weighted(0.1),
        expires,
    );
    let one = one.prop_map(|(kind, payments, credits, slip, expires)| Word {
        kind,
        payments,
        credits,
        slip,
        expires,
    });
    prop::collection::vec(one, 0..8)
}

/// Decisions as people would have made them: of facts as they were numbered.
fn decisions(facts: &Facts, words: &[Word]) -> Vec<Decision> {
    let mut made = Vec::new();
    for word in words {
        if facts.payments.is_empty() || facts.credits.is_empty() {
            break;
        }
        let mut members = Vec::new();
        let mut seen = BTreeSet::new();
        for at in &word.payments {
            let p = at.get(&facts.payments);
            if seen.insert(p.seq) {
                members.push(Member {
                    side: Side::Payment,
                    account_no: 0,
                    id: facts.text(p.id).to_owned(),
                    amount: p
                        .amount
                        .saturating_add(Money::from_fen(i64::from(word.slip))),
                });
            }
        }
        for at in &word.credits {
            let l = at.get(&facts.credits);
            if seen.insert(l.seq) {
                members.push(Member {
                    side: Side::Line,
                    account_no: l.account_no,
                    id: facts.text(l.id).to_owned(),
                    amount: l.amount,
                });
            }
        }
        let kind = [
            DecisionKind::Match,
            DecisionKind::Unmatch,
            DecisionKind::WriteOff,
            DecisionKind::Waive,
        ][usize::from(word.kind)];
        let about = (word.kind > 1).then(|| About {
            code: FlagCode::UnmatchedCredit,
            subject: facts
                .text(word.credits[0].get(&facts.credits).id)
                .to_owned(),
            account_no: word.credits[0].get(&facts.credits).account_no,
            date: Some(word.credits[0].get(&facts.credits).day),
        });
        let at = chrono::DateTime::UNIX_EPOCH;
        made.push(Decision {
            id: DecisionId {
                inst_id: 1,
                decision_no: i64::try_from(made.len()).expect("few") + 1,
            },
            kind,
            about,
            members,
            amount: Money::from_fen(1_000_000),
            expires: word.expires.map(|n| day(LAST).plus(n)),
            proposed_by: "Li Na".to_owned(),
            reason: "asked".to_owned(),
            proposed_at: at,
            said: vec![Said {
                step: Step::Approved,
                by: "Zhao".to_owned(),
                reason: String::new(),
                at,
            }],
        });
    }
    made
}

fn kind(account: i64) -> AccountKind {
    match account {
        1 => AccountKind::Custody,
        _ => AccountKind::Deposit,
    }
}

fn matched(policy: &Policy, facts: &Facts) -> Matching {
    let packs = policy.packs("D");
    match_lines(facts, (policy, &packs), day(LAST), kind)
}

/// Who settles whom, by numbers of movements and ids of decisions.
fn groups(facts: &Facts, m: &Matching) -> BTreeSet<(String, Vec<i64>, Vec<i64>)> {
    let group = |(at, g): (usize, &jintuo::reconcile::Group)| {
        let mut payments: Vec<i64> = m.payments_of(at).map(|i| facts.payments[i].seq).collect();
        let mut credits: Vec<i64> = m.credits_of(at).map(|i| facts.credits[i].seq).collect();
        payments.sort_unstable();
        credits.sort_unstable();
        (format!("{:?} {}", g.by, g.difference), payments, credits)
    };
    m.groups.iter().enumerate().map(group).collect()
}

fn institution() -> Institution {
    Institution {
        institution_id: "I1".to_owned(),
        district_id: "D".to_owned(),
        name: "示例机构".to_owned(),
        uscc: None,
        licence_kind: None,
        licence_no: None,
        licence_from: None,
        licence_to: None,
        department: None,
        category: None,
        subject: None,
        prepays: Prepays::Yes,
        status: "active".to_owned(),
        platform_since: None,
        opened_on: None,
        custody_mode: None,
    }
}

fn account(no: i64) -> Account {
    Account {
        inst_id: InstId(1),
        account_no: AccountNo(no),
        account_id: format!("A{no}"),
        kind: kind(no),
        min_deposit: Money::ZERO,
        bank_code: None,
        branch_district_id: None,
        agreement_no: None,
        agreement_from: None,
        agreement_to: None,
        filed_on: None,
        status: Some("filed".to_owned()),
    }
}

fn measured(policy: &Policy, facts: &Facts, m: &Matching) -> String {
    let accounts = [account(1), account(2)];
    let accounts: Vec<&Account> = accounts.iter().collect();
    let view = (policy, None, day(LAST));
    format!(
        "{:?}",
        measure(&institution(), &accounts, facts, m, view).position
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn decisions_change_positions_through_matches_only(
        moves in moves(),
        words in words(),
        seed in any::<u64>(),
    ) {
        let policy = Policy::built_in("default").expect("the policy");
        let mut given: Vec<(usize, Move)> = sent_once(moves).into_iter().enumerate().collect();
        let plain = facts(&given);
        let mut decided = facts(&given);
        decided.decisions = decisions(&plain, &words);
        let m = matched(&policy, &decided);
        let told = groups(&decided, &m);

        // A movement is in one group at most, and what people keep apart meets in none of the rules'.
        let mut claimed = BTreeSet::new();
        for (_, payments, credits) in &told {
            for part in payments.iter().map(|p| (0, *p)).chain(credits.iter().map(|c| (1, *c))) {
                prop_assert!(claimed.insert(part), "{part:?} twice in {told:?}");
            }
        }
        for (at, g) in m.groups.iter().enumerate() {
            for p in m.payments_of(at) {
                for c in m.credits_of(at) {
                    prop_assert!(!m.kept_apart.contains_key(&(p, c)), "{:?}", g.by);
                }
            }
        }

        // The order of the facts changes nothing.
        Chance(seed).shuffle(&mut given);
        let mut shuffled = facts(&given);
        shuffled.decisions = decided.decisions.clone();
        prop_assert_eq!(&groups(&shuffled, &matched(&policy, &shuffled)), &told);

        // A position is a function of facts and matches: the decisions themselves add nothing to it.
        prop_assert_eq!(measured(&policy, &decided, &m), measured(&policy, &plain, &m));
        decided.decisions.retain(|d| {
            matches!(d.kind, DecisionKind::WriteOff | DecisionKind::Waive)
        });
        let only_findings = matched(&policy, &decided);
        let without = matched(&policy, &plain);
        prop_assert_eq!(groups(&decided, &only_findings), groups(&plain, &without));
        prop_assert_eq!(
            measured(&policy, &decided, &only_findings),
            measured(&policy, &plain, &without)
        );
        let by_people = |m: &Matching| m.groups.iter().any(|g| matches!(g.by, By::Decision(_)));
        prop_assert!(!by_people(&only_findings));
    }
}
