//! Places of bodies that are being read and are not kept yet: how many, how many bytes, and how much of
//! both may be one feed's.
//!
//! Invariants: no feed takes more than its share, so that no sender keeps the others out; a signed head has
//! one body at a time, so that one that was overheard takes one place; what a [`Place`] holds is free again
//! when it is dropped. Bytes are counted as they come: a length that is only announced takes none.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::BODY_BYTES_MAX;

/// How many bodies there may be at once, and how much they may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Fewer than the server's requests, so that pages are answered whatever is pushed.
    pub bodies_max: usize,
    pub bodies_of_feed_max: usize,
    pub bytes_max: usize,
    /// At least one whole body.
    pub bytes_of_feed_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bodies_max: 32,
            bodies_of_feed_max: 8,
            bytes_max: 4 * BODY_BYTES_MAX,
            bytes_of_feed_max: BODY_BYTES_MAX + BODY_BYTES_MAX / 2,
        }
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All, or the feed's own, are taken.
    Full,
    /// The same signed head has a body already.
    HeadTaken,
}

pub(super) struct Places {
    limits: Limits,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: Share,
    feeds: HashMap<String, Share>,
    /// Keys' ids and nonces.
    heads: HashSet<(String, String)>,
}

#[derive(Clone, Copy, Default)]
struct Share {
    bodies: usize,
    bytes: usize,
}

/// One body's place.
pub(super) struct Place<'a> {
    places: &'a Places,
    feed: String,
    head: (String, String),
    bytes: usize,
}

impl Places {
    pub(super) fn new(limits: Limits) -> Places {
        Places {
            limits,
            taken: Mutex::default(),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self, feed: &str, key_id: &str, nonce: &str) -> Result<Place<'_>, NoPlace> {
        let head = (key_id.to_owned(), nonce.to_owned());
        let mut taken = self.taken();
        if taken.heads.contains(&head) {
            return Err(NoPlace::HeadTaken);
        }
        let own = taken.feeds.get(feed).copied().unwrap_or_default();
        if taken.all.bodies >= self.limits.bodies_max
            || own.bodies >= self.limits.bodies_of_feed_max
        {
            return Err(NoPlace::Full);
        }
        taken.all.bodies += 1;
        taken.feeds.entry(feed.to_owned()).or_default().bodies += 1;
        taken.heads.insert(head.clone());
        Ok(Place {
            places: self,
            feed: feed.to_owned(),
            head,
            bytes: 0,
        })
    }
}

impl Place<'_> {
    /// Takes room for so many more bytes; false where there is none.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let limits = &self.places.limits;
        let mut taken = self.places.taken();
        let Taken { all, feeds, .. } = &mut *taken;
        let own = feeds.entry(self.feed.clone()).or_default();
        let fits =
            all.bytes + bytes <= limits.bytes_max && own.bytes + bytes <= limits.bytes_of_feed_max;
        if fits {
            all.bytes += bytes;
            own.bytes += bytes;
            self.bytes += bytes;
        }
        fits
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all.bodies -= 1;
        taken.all.bytes -= self.bytes;
        taken.heads.remove(&self.head);
        if let Some(own) = taken.feeds.get_mut(&self.feed) {
            own.bodies -= 1;
            own.bytes -= self.bytes;
            if own.bodies == 0 {
                taken.feeds.remove(&self.feed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_has_its_share_and_leaves_the_rest() {
        let places = Places::new(Limits {
            bodies_max: 3,
            bodies_of_feed_max: 2,
            bytes_max: 100,
            bytes_of_feed_max: 60,
        });
        let mut one = places.take("icbc", "k1", "n1").expect("a place");
        let same = places.take("icbc", "k1", "n1").err();
        assert_eq!(same, Some(NoPlace::HeadTaken));
        let mut two = places.take("icbc", "k2", "n1").expect("a place");
        assert_eq!(places.take("icbc", "k1", "n2").err(), Some(NoPlace::Full));
        let mut other = places.take("abc", "k3", "n1").expect("a place");
        assert_eq!(places.take("ccb", "k4", "n1").err(), Some(NoPlace::Full));
        assert!(one.grow(30) && two.grow(30) && !two.grow(1));
        assert!(other.grow(40) && !other.grow(1));
        // What one leaves, another takes, its head too.
        drop(one);
        assert!(other.grow(20));
        let again = places.take("icbc", "k1", "n1").expect("a place");
        drop((two, other, again));
        let taken = places.taken();
        assert_eq!((taken.all.bodies, taken.all.bytes), (0, 0));
        assert!(taken.feeds.is_empty() && taken.heads.is_empty());
    }
}
