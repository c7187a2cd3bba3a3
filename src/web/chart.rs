//! The coverage trend as a drawing: geometry and words; `templates/trend.html` puts them into SVG.
//!
//! Invariants: positions are whole tenths of a unit; a day without a figure breaks its line and an
//! incomplete day is hollow; an axis that does not start at zero says so in the title; end labels
//! never overlap; everything drawn also stands in the table under the chart.
//! Absent on purpose: a script, and inline style. The same drawing serves screen, print and report.

use crate::base::{Day, Ratio};
use crate::report::TrendPoint;

use super::format::{basis_points, percent};
use super::site::Tier;

/// The most points a chart draws; older ones are left out.
const MAX_POINTS: usize = 400;
/// With more points than this, only incomplete and last points get a mark.
const MAX_MARKED_POINTS: usize = 40;
/// Ticks of the vertical axis, at most this many steps.
const MAX_STEPS: i64 = 5;
const FULL_BP: i64 = 10_000;

/// The drawing, in tenths of a unit.
const WIDTH: i64 = 5_600;
const HEIGHT: i64 = 3_700;
const LEFT: i64 = 480;
const RIGHT: i64 = 4_230;
const TOP: i64 = 160;
const BOTTOM: i64 = 3_360;
const LABEL_GAP: i64 = 180;
const DATE_GAP: i64 = 800;

/// A trend ready to be drawn.
#[derive(Debug)]
pub(super) struct Trend {
    pub view_box: String,
    /// Of the whole drawing, with its days and the start of its axis.
    pub title: String,
    /// One sentence made of the figures.
    pub description: String,
    /// `纵轴自 60% 起`, empty where the axis starts at zero.
    pub axis_note: String,
    pub left: String,
    pub right: String,
    pub date_y: String,
    pub ticks: Vec<Tick>,
    pub dates: Vec<DateMark>,
    pub alarm_y: String,
    pub lines: Vec<Line>,
    pub labels: Vec<EndLabel>,
    pub has_hollow: bool,
    /// Column heads and rows of the table.
    pub scope: String,
    pub has_lowest: bool,
    pub rows: Vec<TrendRow>,
}

#[derive(Debug)]
pub(super) struct Tick {
    pub y: String,
    pub text_y: String,
    pub text: String,
}

#[derive(Debug)]
pub(super) struct DateMark {
    pub x: String,
    pub text: String,
}

/// One line: its class, its path and its marks.
#[derive(Debug)]
pub(super) struct Line {
    pub class: &'static str,
    pub path: String,
    pub marks: Vec<Mark>,
}

#[derive(Debug)]
pub(super) struct Mark {
    pub x: String,
    pub y: String,
    /// Corner of a square mark.
    pub corner_x: String,
    pub corner_y: String,
    pub hollow: bool,
    pub text: String,
}

#[derive(Debug)]
pub(super) struct EndLabel {
    pub class: &'static str,
    pub x: String,
    pub y: String,
    pub text: String,
}

#[derive(Debug)]
pub(super) struct TrendRow {
    pub day: String,
    pub coverage: String,
    pub lowest: String,
    pub complete: bool,
}

/// Draws a trend; `None` where no day has a figure.
pub(super) fn trend(scope: &str, points: &[TrendPoint], alarm_bp: i64) -> Option<Trend> {
    let points = &points[points.len().saturating_sub(MAX_POINTS)..];
    let known = |p: &&TrendPoint| p.coverage.is_some() || p.lowest.is_some();
    let first = points.iter().find(known)?.day;
    let last = points.iter().rev().find(known)?.day;
    let points: Vec<&TrendPoint> = points
        .iter()
        .filter(|p| p.day >= first && p.day <= last)
        .collect();
    let frame = Frame::around(first, last, &points, alarm_bp);
    let has_lowest = points.iter().any(|p| p.lowest.is_some());

    let city: Vec<_> = points
        .iter()
        .map(|p| (p.day, p.coverage, p.complete))
        .collect();
    let lowest: Vec<_> = points
        .iter()
        .map(|p| (p.day, p.lowest, p.complete))
        .collect();
    let mut lines = vec![frame.line("scope", scope, &city)];
    let mut ends = vec![(
        "alarm",
        format!("红线 {}", basis_points(alarm_bp)),
        frame.y(alarm_bp),
    )];
    ends.extend(frame.end("scope", scope, &city));
    if has_lowest {
        lines.insert(0, frame.line("lowest", "最低区县", &lowest));
        ends.extend(frame.end("lowest", "最低", &lowest));
    }
    let axis_note = match frame.start {
        0 => String::new(),
        start => format!("纵轴自 {} 起", basis_points(start)),
    };
    let comma = if axis_note.is_empty() { "" } else { "，" };
    Some(Trend {
        view_box: format!("0 0 {} {}", WIDTH / 10, HEIGHT / 10),
        title: format!("{scope}资金覆盖率走势，{first} 至 {last}{comma}{axis_note}"),
        description: describe(scope, &city, &lowest),
        axis_note,
        left: tenths(LEFT),
        right: tenths(RIGHT),
        date_y: tenths(BOTTOM + 230),
        ticks: frame.ticks(),
        dates: frame.dates(&points),
        alarm_y: tenths(frame.y(alarm_bp)),
        lines,
        labels: place(ends),
        has_hollow: points.iter().any(|p| !p.complete),
        scope: scope.to_owned(),
        has_lowest,
        rows: points.iter().rev().map(|p| row(p)).collect(),
    })
}

/// A day's figure and whether its data were complete.
type Sample = (Day, Option<Ratio>, bool);

/// The scales of one drawing.
struct Frame {
    first: Day,
    span_days: i64,
    /// Where the vertical axis starts, and the distance of its ticks, in basis points.
    start: i64,
    step: i64,
}

impl Frame {
    fn around(first: Day, last: Day, points: &[&TrendPoint], alarm_bp: i64) -> Frame {
        let lowest = points
            .iter()
            .flat_map(|p| [p.coverage, p.lowest])
            .flatten()
            .map(points_of);
        // A little air under the lowest point keeps it off the axis.
        let bottom = lowest
            .chain([alarm_bp])
            .min()
            .unwrap_or(0)
            .saturating_sub(50)
            .max(0);
        let fits = |step: &i64| FULL_BP - bottom / step * step <= step * MAX_STEPS;
        let step = [50, 100, 200, 500, 1_000]
            .into_iter()
            .find(fits)
            .unwrap_or(2_000);
        let start = (bottom / step * step).min(FULL_BP - step);
        Frame {
            first,
            span_days: i64::from(last.since(first)),
            start,
            step,
        }
    }

    fn x(&self, day: Day) -> i64 {
        match self.span_days {
            0 => LEFT.midpoint(RIGHT),
            span => LEFT + i64::from(day.since(self.first)) * (RIGHT - LEFT) / span,
        }
    }

    fn y(&self, points: i64) -> i64 {
        let above = points.clamp(self.start, FULL_BP) - self.start;
        BOTTOM - above * (BOTTOM - TOP) / (FULL_BP - self.start)
    }

    fn ticks(&self) -> Vec<Tick> {
        let count = (FULL_BP - self.start) / self.step;
        let tick = |i| {
            let points = self.start + i * self.step;
            let y = self.y(points);
            Tick {
                y: tenths(y),
                text_y: tenths(y + 40),
                text: basis_points(points),
            }
        };
        (0..=count).map(tick).collect()
    }

    /// Dates under the axis, the last one always, the others as far as there is room.
    fn dates(&self, points: &[&TrendPoint]) -> Vec<DateMark> {
        let pattern = if self.span_days >= 180 {
            "%Y-%m"
        } else {
            "%m-%d"
        };
        let mut marks = Vec::new();
        let mut next = i64::MAX;
        for point in points.iter().rev() {
            let x = self.x(point.day);
            if x <= next {
                let text = point.day.date().format(pattern).to_string();
                marks.push(DateMark { x: tenths(x), text });
                next = x - DATE_GAP;
            }
        }
        marks.reverse();
        marks
    }

    fn line(&self, class: &'static str, name: &str, samples: &[Sample]) -> Line {
        let mut path = String::new();
        let mut marks = Vec::new();
        let mut pen_down = false;
        let all = samples.len() <= MAX_MARKED_POINTS;
        let last = samples.iter().rposition(|(_, ratio, _)| ratio.is_some());
        for (i, (day, ratio, complete)) in samples.iter().enumerate() {
            let Some(ratio) = ratio else {
                pen_down = false;
                continue;
            };
            let (x, y) = (self.x(*day), self.y(points_of(*ratio)));
            let verb = if pen_down { 'L' } else { 'M' };
            path.push_str(&format!("{verb}{} {}", tenths(x), tenths(y)));
            pen_down = true;
            if all || !complete || Some(i) == last {
                marks.push(mark(x, y, name, *day, *ratio, *complete));
            }
        }
        Line { class, path, marks }
    }

    fn end(
        &self,
        class: &'static str,
        name: &str,
        samples: &[Sample],
    ) -> Option<(&'static str, String, i64)> {
        let known = |(_, ratio, complete): &Sample| ratio.map(|r| (r, *complete));
        let (ratio, complete) = samples.iter().rev().find_map(known)?;
        Some((
            class,
            format!("{name} {}", rate(ratio, complete)),
            self.y(points_of(ratio)),
        ))
    }
}

fn mark(x: i64, y: i64, name: &str, day: Day, ratio: Ratio, complete: bool) -> Mark {
    let note = if complete { "" } else { "（数据不全）" };
    Mark {
        x: tenths(x),
        y: tenths(y),
        corner_x: tenths(x - 33),
        corner_y: tenths(y - 33),
        hollow: !complete,
        text: format!("{name} {day} {}{note}", rate(ratio, complete)),
    }
}

/// Moves end labels apart: pushed down in order, then back up from the bottom edge.
fn place(mut ends: Vec<(&'static str, String, i64)>) -> Vec<EndLabel> {
    ends.sort_by_key(|(_, _, y)| *y);
    let mut lowest = i64::MIN;
    for (_, _, y) in &mut ends {
        *y = (*y).max(lowest);
        lowest = *y + LABEL_GAP;
    }
    let mut highest = BOTTOM;
    for (_, _, y) in ends.iter_mut().rev() {
        *y = (*y).min(highest);
        highest = *y - LABEL_GAP;
    }
    let label = |(class, text, y): (&'static str, String, i64)| EndLabel {
        class,
        x: tenths(RIGHT + 90),
        y: tenths(y + 40),
        text,
    };
    ends.into_iter().map(label).collect()
}

fn describe(scope: &str, city: &[Sample], lowest: &[Sample]) -> String {
    let mut text = journey(&format!("{scope}资金覆盖率"), city).unwrap_or_default();
    if let Some(low) = journey("最低区县覆盖率", lowest) {
        text.push_str(if text.is_empty() { "" } else { "；" });
        text.push_str(&low);
    }
    let incomplete = city.iter().filter(|(_, _, complete)| !complete).count();
    if incomplete > 0 {
        text.push_str(&format!("；其中 {incomplete} 个时点数据不全"));
    }
    text.push('。');
    text
}

/// `X由2025年7月31日的 88.07% 升至2026年6月30日的 95.92%`.
fn journey(name: &str, samples: &[Sample]) -> Option<String> {
    let mut known = samples
        .iter()
        .filter_map(|(day, ratio, complete)| ratio.map(|r| (*day, r, *complete)));
    let (first_day, first, complete) = known.next()?;
    let (from_day, from) = (first_day.to_chinese(), rate(first, complete));
    let Some((last_day, last, complete)) = known.next_back() else {
        return Some(format!("{name}在{from_day}为 {from}"));
    };
    let verb = match last.basis_points().cmp(&first.basis_points()) {
        std::cmp::Ordering::Less => "降至",
        std::cmp::Ordering::Equal => "持平于",
        std::cmp::Ordering::Greater => "升至",
    };
    let (to_day, to) = (last_day.to_chinese(), rate(last, complete));
    Some(format!("{name}由{from_day}的 {from} {verb}{to_day}的 {to}"))
}

fn row(point: &TrendPoint) -> TrendRow {
    let text = |ratio: Option<Ratio>| match ratio {
        Some(ratio) => rate(ratio, point.complete),
        None => "—".to_owned(),
    };
    TrendRow {
        day: point.day.to_string(),
        coverage: text(point.coverage),
        lowest: text(point.lowest),
        complete: point.complete,
    }
}

/// A rate as it may be shown: 100 % of incomplete data proves nothing.
fn rate(ratio: Ratio, complete: bool) -> String {
    if complete || ratio.basis_points() < i128::from(FULL_BP) {
        percent(ratio)
    } else {
        Tier::Unknown.word().to_owned()
    }
}

fn points_of(ratio: Ratio) -> i64 {
    i64::try_from(ratio.basis_points()).unwrap_or(FULL_BP)
}

fn tenths(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let size = value.unsigned_abs();
    match size % 10 {
        0 => format!("{sign}{}", size / 10),
        rest => format!("{sign}{}.{rest}", size / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(day: i32, coverage: Option<i128>, lowest: Option<i128>, complete: bool) -> TrendPoint {
        TrendPoint {
            day: Day::from_epoch(20_000 + day),
            coverage: coverage.and_then(|n| Ratio::new(n, 10_000)),
            lowest: lowest.and_then(|n| Ratio::new(n, 10_000)),
            complete,
        }
    }

    #[test]
    fn no_figure_no_chart() {
        assert!(trend("全市", &[], 9_000).is_none());
        assert!(trend("全市", &[point(0, None, None, true)], 9_000).is_none());
    }

    #[test]
    fn the_axis_says_where_it_starts_and_holds_every_point() {
        let points = [
            point(0, Some(8_807), Some(6_602), true),
            point(30, Some(9_592), None, true),
        ];
        let trend = trend("全市", &points, 9_000).unwrap();
        assert_eq!(trend.axis_note, "纵轴自 60% 起");
        assert!(trend.title.ends_with("，纵轴自 60% 起"), "{}", trend.title);
        assert_eq!(trend.ticks.first().unwrap().text, "60%");
        assert_eq!(trend.ticks.last().unwrap().text, "100%");
        let low = [
            point(0, Some(120), None, true),
            point(1, Some(10_000), None, true),
        ];
        let low = super::trend("全市", &low, 9_000).unwrap();
        assert_eq!(low.axis_note, "");
        assert_eq!(low.ticks.len(), 6);
    }

    #[test]
    fn end_labels_keep_their_distance() {
        for (city, lowest) in [
            (9_000, 9_000),
            (9_010, 8_990),
            (10_000, 10_000),
            (8_000, 8_000),
        ] {
            let points = [point(0, Some(9_500), Some(9_000), true)];
            let last = point(9, Some(city), Some(lowest), true);
            let trend = trend("全市", &[points[0].clone(), last], 9_000).unwrap();
            let y = |label: &EndLabel| -> i64 {
                let (whole, rest) = label.y.split_once('.').unwrap_or((&label.y, "0"));
                whole.parse::<i64>().unwrap() * 10 + rest.parse::<i64>().unwrap()
            };
            let ys: Vec<i64> = trend.labels.iter().map(y).collect();
            assert_eq!(ys.len(), 3);
            assert!(
                ys.windows(2).all(|pair| pair[1] - pair[0] >= LABEL_GAP),
                "{ys:?}"
            );
            assert!(*ys.last().unwrap() <= BOTTOM + 40, "{ys:?}");
        }
    }

    #[test]
    fn a_missing_day_breaks_the_line_and_an_incomplete_day_is_hollow() {
        let points = [
            point(0, Some(9_000), None, true),
            point(1, None, None, false),
            point(2, Some(9_200), None, false),
        ];
        let trend = trend("全市", &points, 9_000).unwrap();
        let line = &trend.lines[0];
        assert_eq!(line.path.matches('M').count(), 2);
        assert_eq!(
            line.marks.iter().map(|m| m.hollow).collect::<Vec<_>>(),
            [false, true]
        );
        assert!(trend.has_hollow && !trend.has_lowest);
        assert_eq!(trend.rows.len(), 3);
        assert_eq!(
            trend.description,
            "全市资金覆盖率由2024年10月4日的 90.00% 升至2024年10月6日的 92.00%；\
             其中 2 个时点数据不全。"
        );
    }

    #[test]
    fn full_coverage_of_an_incomplete_day_is_not_printed() {
        let points = [
            point(0, Some(9_000), None, true),
            point(1, Some(10_000), None, false),
        ];
        let trend = trend("全市", &points, 9_000).unwrap();
        assert!(!trend.description.contains("100"), "{}", trend.description);
        assert_eq!(trend.rows[0].coverage, "数据不全");
        assert!(
            trend
                .labels
                .iter()
                .any(|label| label.text == "全市 数据不全")
        );
    }

    #[test]
    fn many_points_get_few_marks_and_dates() {
        let points: Vec<_> = (0..900)
            .map(|i| point(i, Some(9_400), None, true))
            .collect();
        let trend = trend("全市", &points, 9_000).unwrap();
        assert_eq!(trend.rows.len(), MAX_POINTS);
        assert_eq!(trend.lines[0].marks.len(), 1);
        assert!((2..=7).contains(&trend.dates.len()));
    }
}
