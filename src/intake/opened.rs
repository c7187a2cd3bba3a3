//! One file of an import under way: what it came to, what is said of it.

use crate::base::Defect;
use crate::feed::store::FileResult;
use crate::wire::Assumptions;

/// Remarks on one file that are logged and kept with its delivery; the rest are counted.
const REMARKS_LOGGED_MAX: u64 = 20;
const REMARKS_KEPT_MAX: u64 = 3;
/// Characters kept of a remark.
const REMARK_CHARS_MAX: usize = 300;

/// Counts of one file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) new: i64,
    pub(super) same: i64,
    pub(super) revised: i64,
    pub(super) waiting: i64,
    pub(super) quarantined: i64,
}

impl Counts {
    pub(super) fn tell(self, result: &mut FileResult) {
        result.new = self.new;
        result.same = self.same;
        result.revised = self.revised;
        result.waiting = self.waiting;
        result.quarantined = self.quarantined;
    }
}

pub(super) struct OpenFile {
    pub(super) source_no: i64,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) result: FileResult,
    /// The delivery it was read from, and why it could not be used.
    pub(super) delivery_no: Option<i64>,
    pub(super) reason: String,
    /// What is questionable about it all the same: the first remarks, and how many there are.
    remarks: Vec<String>,
    remarks_total: u64,
    pub(super) assumed: Assumptions,
    /// It names an account that nobody has registered yet.
    pub(super) is_early: bool,
}

impl OpenFile {
    /// A file about to be read; used, unless it turns out otherwise.
    pub(super) fn new(
        source_no: i64,
        (name, kind): (&str, &'static str),
        delivery_no: Option<i64>,
    ) -> OpenFile {
        OpenFile {
            source_no,
            name: name.to_owned(),
            kind,
            result: FileResult {
                outcome: "used",
                ..FileResult::default()
            },
            delivery_no,
            reason: String::new(),
            remarks: Vec::new(),
            remarks_total: 0,
            assumed: Assumptions::default(),
            is_early: false,
        }
    }

    pub(super) fn remark(&mut self, defect: &Defect) {
        self.remarks_total += 1;
        if self.remarks_total <= REMARKS_LOGGED_MAX {
            tracing::warn!(
                file.name = %self.name,
                file.source_no = self.source_no,
                file.remark = %defect,
                "a file is kept and remarked"
            );
        }
        if self.remarks_total <= REMARKS_KEPT_MAX {
            let place = (defect.place.line).map_or_else(String::new, |n| format!("line {n}: "));
            let said = format!("{place}{} [{}]", defect.found, defect.code.as_str());
            self.remarks
                .push(said.chars().take(REMARK_CHARS_MAX).collect());
        }
    }

    /// Says how many remarks have not been logged.
    pub(super) fn tell_rest(&self) {
        let rest = self.remarks_total.saturating_sub(REMARKS_LOGGED_MAX);
        if rest > 0 {
            tracing::warn!(
                file.name = %self.name,
                file.source_no = self.source_no,
                remarks.more = rest,
                "there are more remarks on a file"
            );
        }
    }

    /// What is kept with its delivery: why it could not be used, or else what is remarkable about it.
    pub(super) fn note(&self) -> String {
        if !self.reason.is_empty() || self.remarks.is_empty() {
            return self.reason.clone();
        }
        let kept = self.remarks.join("; ");
        match self.remarks_total.saturating_sub(REMARKS_KEPT_MAX) {
            0 => format!("remarked: {kept}"),
            more => format!("remarked: {kept}; and {more} more"),
        }
    }
}
