//! Pages without figures: nothing here yet, not found, not understood, not possible now.
//!
//! Invariants: each says what happened and what to type or run next; what was typed is shown back
//! shortened and escaped; causes stay in the log.

use askama::Template;
use axum::http::StatusCode;

use crate::base::Day;

use super::format::Unit;
use super::parts::{Filter, Layout};
use super::preview::{BODY_BYTES_MAX, FILES_MAX};
use super::site::Site;
use super::{Asked, PageError};

/// The most characters of a wrong input that are shown back.
const MAX_ECHO_CHARS: usize = 40;

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Problem {
    BadDay(String),
    BadUnit(String),
    BadQuery,
    /// No completed run: of the day, or at all.
    NoRun(Option<Day>),
    NoDistrict {
        id: String,
        as_of: Option<Day>,
    },
    NoSuchPage,
    MethodNotAllowed,
    /// A form on another site was sent here.
    ForeignForm,
    BadUpload,
    /// The form's account is none.
    BadAccount(String),
    /// The form's unit is neither yuan nor fen.
    BadAmountUnit(String),
    /// An account or a unit was given beside a file of a bundle.
    Apart,
    TooSlow,
    TooLarge,
    /// Why nothing could be read of an upload; empty where no file was sent.
    NothingToPreview(String),
    HalfTaken,
    Busy,
    TooLong,
    Failed(PageError),
}

impl From<PageError> for Problem {
    fn from(error: PageError) -> Problem {
        Problem::Failed(error)
    }
}

impl Problem {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Problem::BadDay(_) | Problem::BadUnit(_) | Problem::BadQuery | Problem::BadUpload => {
                StatusCode::BAD_REQUEST
            }
            Problem::ForeignForm => StatusCode::FORBIDDEN,
            Problem::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Problem::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Problem::NothingToPreview(_)
            | Problem::BadAccount(_)
            | Problem::BadAmountUnit(_)
            | Problem::Apart => StatusCode::UNPROCESSABLE_ENTITY,
            Problem::HalfTaken => StatusCode::CONFLICT,
            Problem::Busy | Problem::TooLong => StatusCode::SERVICE_UNAVAILABLE,
            Problem::NoRun(None) => StatusCode::OK,
            Problem::NoRun(Some(_)) | Problem::NoDistrict { .. } | Problem::NoSuchPage => {
                StatusCode::NOT_FOUND
            }
            Problem::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Problem::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    page: Layout,
    heading: &'static str,
    lead: String,
    steps: Vec<Step>,
    filter: Option<Filter>,
}

/// One thing to do, with a command or example to copy.
struct Step {
    text: &'static str,
    code: &'static str,
}

pub(super) fn render(site: &Site, problem: &Problem) -> Result<String, PageError> {
    let (heading, lead) = words(problem);
    let asked = Asked::default();
    let offers_day = matches!(
        problem,
        Problem::BadDay(_) | Problem::BadUnit(_) | Problem::BadQuery | Problem::NoRun(Some(_))
    );
    let template = Message {
        page: Layout::new(site, &asked, format!("{heading} {}", site.city), false),
        heading,
        lead,
        steps: steps(problem),
        filter: offers_day.then(|| Filter::new("/".to_owned(), &asked, None, &[])),
    };
    Ok(template.render()?)
}

fn words(problem: &Problem) -> (&'static str, String) {
    match problem {
        Problem::BadDay(text) => (
            "日期无法识别",
            format!("截至日期“{}”不是有效日期。", echo(text)),
        ),
        Problem::BadUnit(text) => (
            "单位无法识别",
            format!("单位“{}”不在可选范围内。", echo(text)),
        ),
        Problem::BadQuery => (
            "网址参数无法识别",
            "网址中的参数重复或编码有误。".to_owned(),
        ),
        Problem::NoRun(None) => (
            "尚无已完成的对账批次",
            "账本中还没有跑完的对账批次，所以没有可以展示的数字。请由运维人员依次执行：".to_owned(),
        ),
        Problem::NoRun(Some(day)) => (
            "该日没有已完成的批次",
            format!("{}没有已完成的对账批次。", day.to_chinese()),
        ),
        Problem::NoDistrict { id, as_of } => {
            let day = as_of.map_or_else(|| "最近批次".to_owned(), Day::to_chinese);
            let lead = format!(
                "{day}中没有代码为“{}”的区县，或该日没有已完成的批次。",
                echo(id)
            );
            ("找不到这个区县", lead)
        }
        Problem::NoSuchPage => ("找不到这个页面", "网址可能输错，或页面已移动。".to_owned()),
        Problem::MethodNotAllowed => ("不支持的请求", "本页面只能查看，不能提交。".to_owned()),
        Problem::ForeignForm => (
            "不接受其他网站的表单",
            "这次提交来自另一个网站的页面，没有处理。".to_owned(),
        ),
        Problem::BadUpload => (
            "上传不完整",
            "没有收到完整的表单，可能是网络中断。什么都没有保存。".to_owned(),
        ),
        Problem::BadAccount(text) => (
            "账号无法识别",
            format!(
                "“账号”一栏填写的“{}”不是账号：不能有空格、斜杠。什么都没有保存。",
                echo(text)
            ),
        ),
        Problem::BadAmountUnit(text) => (
            "金额单位无法识别",
            format!(
                "“金额单位”一栏的“{}”不在可选范围内。什么都没有保存。",
                echo(text)
            ),
        ),
        Problem::Apart => (
            "账号和金额单位只用于对账单",
            "选择的文件中有数据包的文件，它们不需要填写账号或金额单位。什么都没有保存。".to_owned(),
        ),
        Problem::TooSlow => (
            "上传超时",
            "文件没有在规定时间内传完。什么都没有保存。".to_owned(),
        ),
        Problem::TooLarge => (
            "上传过大",
            format!(
                "一次最多 {} MiB、{} 个文件。什么都没有保存。",
                BODY_BYTES_MAX >> 20,
                FILES_MAX
            ),
        ),
        Problem::NothingToPreview(why) if why.is_empty() => {
            ("没有选择文件", "请先选择要预览的文件。".to_owned())
        }
        Problem::NothingToPreview(why) => (
            "没有可以导入的内容",
            format!("这些文件里没有能识别的对账单或数据包（{why}）。什么都没有保存。"),
        ),
        Problem::HalfTaken => (
            "有一次导入被中断",
            "账本中有一个数据包只导入了一半，请运维人员先把那次导入做完，再预览。".to_owned(),
        ),
        Problem::Busy => (
            "请稍后再试",
            "正在进行另一次导入或预览，同一时间只做一个。什么都没有保存。".to_owned(),
        ),
        Problem::TooLong => (
            "预览超时",
            "这些文件在规定时间内没有预览完，已经停止。什么都没有保存。".to_owned(),
        ),
        Problem::Failed(_) => (
            "暂时读不到数据",
            "数据没有丢失，只是现在读不到。请稍后刷新；若一直如此，请联系运维人员查看日志。"
                .to_owned(),
        ),
    }
}

fn steps(problem: &Problem) -> Vec<Step> {
    let step = |text, code| Step { text, code };
    match problem {
        Problem::BadDay(_) | Problem::BadQuery => vec![
            step(
                "请按 年-月-日 输入四位年、两位月、两位日，例如：",
                "2026-06-30",
            ),
            step("留空则显示最近一个已完成的批次。", ""),
        ],
        Problem::BadUnit(_) => Unit::ALL
            .map(|unit| step(unit.chinese(), unit.param()))
            .into_iter()
            .collect(),
        Problem::NoRun(None) => vec![
            step("导入机构、合同与银行对账单：", "jintuo import 目录或文件"),
            step("对某一日对账：", "jintuo reconcile --as-of 2026-06-30"),
            step("刷新本页。只想先看看样子，可以用示例数据：", "jintuo demo"),
        ],
        Problem::NoRun(Some(_)) => vec![
            step("换一个日期，或留空显示最近的批次；", ""),
            step(
                "也可以由运维人员补跑该日：",
                "jintuo reconcile --as-of 日期",
            ),
        ],
        Problem::NoDistrict { .. } | Problem::NoSuchPage | Problem::MethodNotAllowed => {
            vec![step("请从总览重新进入。", "")]
        }
        Problem::TooLarge | Problem::TooLong => vec![step(
            "分成几次预览，或由运维人员在服务器上预览：",
            "jintuo import --dry-run 文件",
        )],
        Problem::HalfTaken => vec![step(
            "再执行一次被中断的同一条命令：",
            "jintuo import 目录或文件",
        )],
        Problem::BadAccount(_) => vec![step(
            "请填写 accounts.csv 中登记的 account_id，例如下面这样；文件已写明账号的，请留空：",
            "6217000010001234567",
        )],
        Problem::Apart => vec![
            step("请把对账单和数据包的文件分开预览；", ""),
            step("或者把“账号”和“金额单位”留空。", ""),
        ],
        Problem::BadAmountUnit(_) => vec![
            step("金额以元计：", "yuan"),
            step("金额以分计：", "fen"),
            step("文件已写明单位的，请留空。", ""),
        ],
        Problem::ForeignForm
        | Problem::BadUpload
        | Problem::TooSlow
        | Problem::NothingToPreview(_)
        | Problem::Busy => vec![step("请从本站的“导入预览”重新选择文件。", "")],
        Problem::Failed(_) => Vec::new(),
    }
}

fn echo(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_ECHO_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
