//! The pages of the upload preview: the form, and what an import would do.
//!
//! Invariants: before any figure stands that nothing was stored; a proof is shown with all its figures,
//! to the cent, and a sign and a word say whether it holds; what is refused is named with its place and
//! what to do. A file's name is shown as text.
//! Absent on purpose: a button that imports.

use askama::Template;
use rust_decimal::Decimal;

use super::figures::Kpi;
use super::format::{Unit, amount, count};
use super::parts::{Badge, Layout};
use super::preview::{BODY_BYTES_MAX, FILES_MAX};
use super::site::{Site, Tier};
use super::{Asked, PageError};
use crate::base::{AmountUnit, Day, Defect, DefectCode, Money};
use crate::intake::{Becomes, FileSummary, Stated, Summary};
use crate::wire::{Assumptions, Verdict};

/// Statements shown in full; the rest are counted.
const STATEMENTS_MAX: usize = 200;

#[derive(Template)]
#[template(path = "import_new.html")]
struct FormPage {
    page: Layout,
    mebibytes: usize,
    files: usize,
}

#[derive(Template)]
#[template(path = "import_preview.html")]
struct PreviewPage {
    page: Layout,
    /// An import that was interrupted would be completed with this one.
    resumed: bool,
    kpis: Vec<Kpi>,
    statements: Vec<StatementRow>,
    statements_extent: String,
    files: Vec<FileRow>,
    refused: Vec<DefectRow>,
    refused_extent: String,
    notes: Vec<DefectRow>,
    notes_extent: String,
    ignored: Vec<String>,
}

struct StatementRow {
    file: String,
    account: String,
    days: String,
    currency: String,
    opening: String,
    credits: String,
    debits: String,
    closing: String,
    /// How far off, empty where it holds or cannot be told.
    off: String,
    entries: String,
    pending: String,
    proof: Badge,
    outcome: Badge,
}

struct FileRow {
    name: String,
    /// What the file leaves open and the form says, if anything.
    assumed: String,
    kind: String,
    outcome: Badge,
    new: String,
    same: String,
    revised: String,
    waiting: String,
    quarantined: String,
}

struct DefectRow {
    file: String,
    place: String,
    code: &'static str,
    chinese: &'static str,
    found: String,
    remedy: &'static str,
}

pub(super) fn form(site: &Site) -> Result<String, PageError> {
    let template = FormPage {
        page: layout(site, "导入预览"),
        mebibytes: BODY_BYTES_MAX >> 20,
        files: FILES_MAX,
    };
    Ok(template.render()?)
}

pub(super) fn render(site: &Site, summary: &Summary) -> Result<String, PageError> {
    let sum = |of: fn(&FileSummary) -> i64| summary.files.iter().map(of).sum::<i64>();
    let quarantined = sum(|f| f.quarantined);
    let statements = &summary.statements[..summary.statements.len().min(STATEMENTS_MAX)];
    let template = PreviewPage {
        page: layout(site, "导入预览结果"),
        resumed: summary.resumed.is_some(),
        kpis: vec![
            kpi("新增", sum(|f| f.new), "会写入账本", false),
            kpi("重复", sum(|f| f.same), "已在账本，不会重复入账", false),
            kpi("修订", sum(|f| f.revised), "会更正，旧值保留", false),
            kpi("等待", sum(|f| f.waiting), "等待上级记录", false),
            kpi("隔离", quarantined, "不会入账，须处理", quarantined > 0),
        ],
        statements: statements.iter().map(statement).collect(),
        statements_extent: extent(statements.len(), number(summary.statements_total), "份"),
        files: summary.files.iter().map(file).collect(),
        refused: summary.quarantined.iter().map(defect).collect(),
        refused_extent: extent(summary.quarantined.len(), quarantined, "项"),
        notes: summary.defects.iter().map(defect).collect(),
        notes_extent: extent(summary.defects.len(), number(summary.defects_total), "项"),
        ignored: summary.ignored.clone(),
    };
    Ok(template.render()?)
}

fn layout(site: &Site, title: &str) -> Layout {
    let title = format!("{title} {}", site.city);
    Layout::new(site, &Asked::default(), title, false).at("/imports/new")
}

fn kpi(label: &'static str, number: i64, note: &str, alarm: bool) -> Kpi {
    Kpi {
        label,
        value: count(number),
        unit: String::new(),
        exact: String::new(),
        class: if alarm { "alarm" } else { "" },
        badges: Vec::new(),
        notes: vec![note.to_owned()],
    }
}

/// 共 3 份, or 前 20 项 / 共 31 项.
fn extent(shown: usize, total: i64, unit: &str) -> String {
    let shown = i64::try_from(shown).unwrap_or(i64::MAX);
    if shown >= total {
        format!("共 {} {unit}", count(shown))
    } else {
        format!("前 {} {unit} / 共 {} {unit}", count(shown), count(total))
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn statement(stated: &Stated) -> StatementRow {
    let Stated { says, booked, .. } = stated;
    let none = || "–".to_owned();
    let figure = |text: Option<&str>| text.map_or_else(none, yuan);
    let refused = says.verdict == Verdict::Refused;
    let sums = |text: &str| if refused { none() } else { yuan(text) };
    StatementRow {
        file: says.file.clone(),
        account: says.account.clone().unwrap_or_else(none),
        days: days(booked.from, booked.to),
        currency: says.currency.clone().unwrap_or_default(),
        opening: figure(says.opening.as_deref()),
        credits: sums(&booked.credits),
        debits: sums(&booked.debits),
        closing: figure(says.closing.as_deref()),
        off: off(stated).unwrap_or_default(),
        entries: count(number(says.entries)),
        pending: match says.pending {
            0 => String::new(),
            n => format!("另有未入账 {n} 笔，不计"),
        },
        proof: proof(says.verdict),
        outcome: outcome(stated.outcome),
    }
}

fn days(from: Option<Day>, to: Option<Day>) -> String {
    match (from, to) {
        (Some(from), Some(to)) if from != to => format!("{from} 至 {to}"),
        (Some(day), _) | (None, Some(day)) => day.to_string(),
        (None, None) => "–".to_owned(),
    }
}

/// To the cent; what is finer, or beyond what is kept, as the file writes it.
fn yuan(text: &str) -> String {
    Money::parse_yuan(text).map_or_else(|_| text.to_owned(), |m| amount(m, Unit::Yuan))
}

/// What the stated closing differs by from where the lines lead.
fn off(stated: &Stated) -> Option<String> {
    let figure = |text: &str| text.parse::<Decimal>().ok();
    let opening = figure(stated.says.opening.as_deref()?)?;
    let closing = figure(stated.says.closing.as_deref()?)?;
    let reached = opening
        .checked_add(figure(&stated.booked.credits)?)?
        .checked_sub(figure(&stated.booked.debits)?)?;
    let off = closing.checked_sub(reached)?;
    (!off.is_zero()).then(|| yuan(&off.to_string()))
}

fn proof(verdict: Verdict) -> Badge {
    let (tier, mark, text) = match verdict {
        Verdict::Balanced => (Tier::Full, "✓", "平衡"),
        Verdict::ExplainedByValueDate => (Tier::Amber, "✗", "仅按起息日平衡"),
        Verdict::Unbalanced => (Tier::Red, "✗", "不平"),
        Verdict::NoBalances => (Tier::Amber, "✗", "无余额，不能证明"),
        Verdict::OneSided => (Tier::Amber, "✗", "仅一侧余额"),
        Verdict::Refused => (Tier::Red, "✗", "无法读取"),
    };
    Badge {
        mark,
        ..Badge::worded(tier, text)
    }
}

fn outcome(outcome: Becomes) -> Badge {
    match outcome {
        Becomes::New => Badge::worded(Tier::Full, "新增"),
        Becomes::Known => Badge::worded(Tier::NotApplicable, "重复"),
        Becomes::Revised => Badge::worded(Tier::Watch, "修订"),
        Becomes::Conflict => Badge::worded(Tier::Red, "与已存矛盾，列为争议"),
        Becomes::Waiting => Badge::worded(Tier::Watch, "缺相邻页，等待"),
        Becomes::Quarantined => Badge::worded(Tier::Red, "整个文件隔离"),
    }
}

fn file(file: &FileSummary) -> FileRow {
    let usable = file.new + file.same + file.revised + file.waiting > 0;
    FileRow {
        name: file.file.clone(),
        assumed: assumed(&file.assumed),
        kind: file.kind.clone(),
        outcome: match file.outcome.as_str() {
            "used" if usable && file.quarantined > 0 => Badge::worded(Tier::Amber, "部分可用"),
            "used" if usable || file.quarantined == 0 => Badge::worded(Tier::Full, "可用"),
            "known" => Badge::worded(Tier::NotApplicable, "重复"),
            "unreadable" => Badge::worded(Tier::Red, "无法读取"),
            _ => Badge::worded(Tier::Red, "隔离"),
        },
        new: count(file.new),
        same: count(file.same),
        revised: count(file.revised),
        waiting: count(file.waiting),
        quarantined: count(file.quarantined),
    }
}

fn assumed(assumed: &Assumptions) -> String {
    let account = assumed.account.as_ref().map(|id| format!("账号 {id}"));
    let unit = assumed.amount_unit.map(|unit| match unit {
        AmountUnit::Yuan => "金额以元计".to_owned(),
        AmountUnit::Fen => "金额以分计".to_owned(),
    });
    let said: Vec<String> = account.into_iter().chain(unit).collect();
    said.join("，")
}

fn defect(defect: &Defect) -> DefectRow {
    let place = &defect.place;
    let line = place.line.map(|line| format!("第 {line} 行"));
    let column = place.column.clone();
    let parts: Vec<String> = line.into_iter().chain(column).collect();
    DefectRow {
        file: place.file.clone(),
        place: if parts.is_empty() {
            "整个文件".to_owned()
        } else {
            parts.join("，")
        },
        code: defect.code.as_str(),
        chinese: defect.code.chinese(),
        found: defect.found.clone(),
        remedy: remedy(defect.code),
    }
}

/// [`DefectCode::advice`] in the words of the page.
fn remedy(code: DefectCode) -> &'static str {
    match code {
        DefectCode::UnknownFormat => "请发送受支持格式的对账单或数据包",
        DefectCode::BadEncoding => "请以 UTF-8 或 GB18030 编码重新发送完整文件",
        DefectCode::Truncated => "文件末尾缺失，请重新发送完整文件",
        DefectCode::Malformed => "请按所示位置修正结构",
        DefectCode::Forbidden => "请去掉格式不允许的内容（DOCTYPE、实体、过深嵌套、密码）",
        DefectCode::TooLarge => "请拆分文件，或由运维调高所示上限",
        DefectCode::MissingColumn => "请在表头补上该列",
        DefectCode::MissingValue => "请填写该字段",
        DefectCode::BadAmount => "请用数字填写金额",
        DefectCode::BadDate => "请按 年-月-日（2026-06-30）填写日期",
        DefectCode::BadCode => "请改用格式允许的取值",
        DefectCode::BadId => "请使用 1 至 64 个字符的编号",
        DefectCode::UnknownParent => "请补报所引用的记录；该行等待，导入时自动重试",
        DefectCode::UnknownAccount => "请先登记账户（accounts.csv），再发送其对账单",
        DefectCode::Unbalanced => "明细推不出期末余额，请向银行重新索取对账单",
        DefectCode::NoBalances => "对账单没有日终余额，不能证明；请索取日终对账单",
        DefectCode::OneSided => "对账单缺期初或期末余额，请重新索取",
        DefectCode::Conflict => "同一标识已存有不同记录；请发送经银行确认的更正",
        DefectCode::DeclaredTotals => "文件声明的合计与明细不符，请核对后重发",
        DefectCode::UnpricedOrder => "课时数乘单价与总价不等，以总价为准；请核对",
        DefectCode::BadUscc => "请更正统一社会信用代码",
        DefectCode::OutOfOrder => "逐笔余额正反都连不上，请重新导出",
        DefectCode::Duplicate => "同一对账单或明细出现两次，请核对",
        DefectCode::Gap => "期初与上次期末不等，中间缺一份对账单",
        DefectCode::Unreadable => "请确认文件存在且可读",
    }
}
