//! The contracts an import has at hand: terms and running totals, by order id and by number.

use std::collections::HashMap;

use crate::base::{InstId, Money};
use crate::registry::{IdIndex, Terms};

/// Stands for "no contract" in [`super::Draft::contract`].
pub const NO_CONTRACT: u32 = u32::MAX;

/// A contract's terms and running totals, as posting needs them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
    pub inst_id: InstId,
    pub contract_no: i64,
    pub terms: Terms,
    /// Lessons confirmed or deemed.
    pub lessons_counted: i64,
    pub earned: Money,
    /// Changed since it was last written.
    pub(super) dirty: bool,
}

impl Slot {
    pub fn new(inst_id: InstId, contract_no: i64, terms: Terms) -> Slot {
        Slot {
            inst_id,
            contract_no,
            terms,
            ..Slot::default()
        }
    }

    #[must_use]
    pub fn with_totals(mut self, lessons_counted: i64, earned: Money) -> Slot {
        self.lessons_counted = lessons_counted;
        self.earned = earned;
        self
    }
}

/// The contracts an import has met, by order id.
#[derive(Default)]
pub struct Contracts {
    ids: IdIndex,
    pub(super) slots: Vec<Slot>,
    /// By (inst_id, contract_no); built when a correction first needs it.
    by_number: Option<HashMap<(InstId, i64), u32>>,
}

impl Contracts {
    pub fn get(&self, order_id: &str) -> Option<u32> {
        self.ids.get(order_id)
    }

    pub fn slot(&self, number: u32) -> &Slot {
        &self.slots[number as usize]
    }

    /// The number a contract has in its institution, 0 for none.
    pub fn number_of(&self, contract: u32) -> i64 {
        self.slots
            .get(contract as usize)
            .map_or(0, |s| s.contract_no)
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn order_id(&self, number: u32) -> &str {
        self.ids.id(number)
    }

    /// Adds a contract with its stored totals, or gives it other terms.
    pub fn put(&mut self, order_id: &str, slot: Slot) -> u32 {
        let number = self.ids.insert(order_id);
        if (number as usize) < self.slots.len() {
            self.slots[number as usize].terms = slot.terms;
        } else {
            self.slots.push(slot);
            if let Some(by_number) = &mut self.by_number {
                by_number.insert((slot.inst_id, slot.contract_no), number);
            }
        }
        number
    }

    pub(super) fn numbered(&mut self, inst_id: InstId, contract_no: i64) -> Option<u32> {
        let by_number = self.by_number.get_or_insert_with(|| {
            (0..)
                .zip(&self.slots)
                .map(|(n, s)| ((s.inst_id, s.contract_no), n))
                .collect()
        });
        by_number.get(&(inst_id, contract_no)).copied()
    }

    pub fn clear(&mut self) {
        *self = Contracts::default();
    }
}
