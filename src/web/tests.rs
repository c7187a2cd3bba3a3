//! Pages as a browser gets them: through a socket, from the invented city.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::preview::{ImportPreview, NoPreview, Previews, Upload};
use super::sample::{self, SampleSource};
use super::{BoxFuture, WebState, router};
use crate::intake::Summary;
use crate::wire::Assumptions;

/// What came back.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// Asks a fresh server on loopback one request.
async fn ask_of(state: WebState, method: &'static str, path: &str) -> Answer {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, router(state)).into_future());
    let path = path.to_owned();
    let answer = tokio::task::spawn_blocking(move || request(address, method, &path)).await;
    server.abort();
    answer.unwrap()
}

fn request(address: SocketAddr, method: &str, path: &str) -> Answer {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: jintuo\r\nConnection: close\r\n\r\n");
    send(address, head.as_bytes())
}

fn send(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    // A server that refuses may close before it has read everything.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

async fn ask(source: SampleSource, path: &str) -> Answer {
    ask_of(sample::state(source), "GET", path).await
}

const EVERY_KIND_OF_PAGE: [&str; 9] = [
    "/",
    "/imports/new",
    "/?as_of=2026-06-30&unit=yuan",
    "/districts/410185",
    "/districts/ZZ-JK",
    "/?as_of=30.6.2026",
    "/?as_of=2026-06-29",
    "/nowhere",
    "/districts/nowhere",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_the_security_headers() {
    for path in EVERY_KIND_OF_PAGE
        .into_iter()
        .chain(["/livez", "/readyz", "/assets/site-0.css"])
    {
        let answer = ask(SampleSource::City, path).await;
        for header in [
            "content-security-policy: default-src 'none'; style-src 'self'; img-src 'self' data:; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            "referrer-policy: no-referrer",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ] {
            assert!(answer.head.contains(header), "{path}: {}", answer.head);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_has_inline_style_or_script_or_a_foreign_address() {
    for source in [
        SampleSource::City,
        SampleSource::Empty,
        SampleSource::Broken,
    ] {
        for path in EVERY_KIND_OF_PAGE {
            let body = ask(source, path).await.body;
            for banned in [
                " style=",
                "<style",
                "<script",
                " onclick=",
                "http://",
                "https://",
            ] {
                assert!(!body.contains(banned), "{path} has {banned}");
            }
            assert!(body.contains("<html lang=\"zh-CN\">"), "{path}");
            assert_eq!(body.matches("<h1").count(), 1, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_escaped_wherever_they_stand() {
    for path in ["/", "/districts/410185"] {
        let body = ask(SampleSource::City, path).await.body;
        assert!(!body.contains("<b>=HYPERLINK("), "{path}");
        assert!(body.contains("&#60;b&#62;=HYPERLINK("), "{path}");
    }
    let typed = ask(SampleSource::City, "/?as_of=%3Cscript%3Ealert(1)")
        .await
        .body;
    assert!(!typed.contains("<script") && typed.contains("&#60;script&#62;alert(1)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_district_is_a_tile_that_links_to_its_page() {
    let body = ask(SampleSource::City, "/?unit=yi").await.body;
    let grid = body
        .split("<ol class=\"tiles\">")
        .nth(1)
        .unwrap()
        .split("</ol>")
        .next()
        .unwrap();
    assert_eq!(grid.matches("<li class=\"c").count(), 16);
    assert_eq!(
        grid.matches("<li").count(),
        grid.matches("<a class=\"tile ").count()
    );
    for district in sample::districts() {
        let (column, row) = district.tile.unwrap();
        let href = format!("href=\"/districts/{}?unit=yi\"", district.district_id);
        let tile = grid
            .split("<li")
            .find(|li| li.contains(&href))
            .expect(&href);
        assert!(
            tile.contains(&format!("class=\"c{column} r{row}\"")),
            "{tile}"
        );
        assert!(tile.contains(&district.name), "{tile}");
        assert_eq!(tile.contains(" zone\""), district.is_zone, "{tile}");
        assert_eq!(
            tile.contains("数据不全"),
            district.unknown_institutions > 0,
            "{tile}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_short_or_unknown_never_reads_100_percent() {
    let body = ask(SampleSource::City, "/").await.body;
    let tile = |name: &str| {
        let found = body
            .split("<li")
            .find(|li| li.contains(&format!("<b>{name}</b>")));
        found.unwrap_or_else(|| panic!("no tile {name}")).to_owned()
    };
    // Four yuan short of twenty million.
    assert!(tile("航空港区").contains("99.99%") && tile("航空港区").contains("缺口 &#60;0.1万"));
    // Nothing known to be short, but three institutions have no proven statement.
    assert!(!tile("经开区").contains("100.00%") && tile("经开区").contains("tile unknown"));
    assert!(tile("上街区").contains("100.00%") && tile("上街区").contains("✓"));
    assert!(body.contains("&#60;0.01"), "four yuan in 万元");
    assert!(body.contains("资金覆盖率（暂计）"));
    let unknown = body
        .split("<tr id=")
        .find(|row| row.contains("示例蓝鲸编程"))
        .unwrap();
    assert!(unknown.contains("<span>数据不全</span>") && !unknown.contains("%</span>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_data_are_said_before_any_percentage() {
    let body = ask(SampleSource::City, "/").await.body;
    let main = body.split("<main").nth(1).unwrap();
    let banner = main.find("banner unknown").expect("a banner");
    assert!(banner < main.find('%').unwrap());
    assert!(main.contains("1,391 / 1,398"));
    assert!(main.contains("7 个账户没有可证实的对账单，6 家机构无法判定是否足额"));
    let gaps = ask(SampleSource::City, "/").await.body;
    for shown in [
        "id=\"gaps\"",
        "#gaps",
        "所列 2 户 / 共 9 户",
        "缺对账单",
        "2026-06-14",
    ] {
        assert!(gaps.contains(shown), "{shown}");
    }
    let complete = ask(SampleSource::Complete, "/").await.body;
    assert!(!complete.contains("#gaps") && !complete.contains("id=\"gaps\""));
    assert!(!complete.contains("banner unknown") && !complete.contains("暂计）"));
    assert!(complete.contains("1,398 / 1,398"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_districts_add_up_to_the_city() {
    let overview = sample::overview();
    let body = ask(SampleSource::City, "/?unit=yuan").await.body;
    let foot = body
        .split("<tfoot>")
        .nth(1)
        .unwrap()
        .split("</tfoot>")
        .next()
        .unwrap();
    assert!(foot.contains("Σ 郑州市"));
    for money in [
        overview.total.required,
        overview.total.held,
        overview.total.uncovered,
    ] {
        assert!(
            foot.contains(&format!("title=\"{money} 元\">{money}</td>")),
            "{money}: {foot}"
        );
    }
    assert!(!body.contains("合计不符"));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_rates_stand_side_by_side() {
    for path in ["/", "/districts/410102"] {
        let body = ask(SampleSource::Complete, path).await.body;
        let labels: Vec<&str> = body
            .split("<div class=\"kpi ")
            .skip(1)
            .map(|kpi| kpi.split("<dt>").nth(1).unwrap().split('<').next().unwrap())
            .collect();
        assert_eq!(
            labels[..5],
            [
                "资金覆盖率",
                "机构托管率",
                "应监管余额",
                "实际托管余额",
                "资金缺口"
            ],
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_district_shows_its_institutions_and_findings() {
    let answer = ask(SampleSource::City, "/districts/410102?as_of=2026-06-30").await;
    assert_eq!(answer.status, 200);
    let body = answer.body;
    assert!(body.contains("<li aria-current=\"page\">中原区</li>"));
    assert!(
        body.contains("href=\"/?as_of=2026-06-30\""),
        "the day follows the links"
    );
    assert!(body.contains("UNAUTHORISED_DEBIT") && body.contains("非授权支出"));
    assert!(body.contains("1,714,500.00"), "findings are in yuan");
    assert!(body.contains("<small>暂定</small>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_addresses_are_answered_with_what_to_type() {
    let city = SampleSource::City;
    for (path, status, words) in [
        ("/?as_of=30.6.2026", 400, "例如： <code>2026-06-30</code>"),
        ("/?as_of=2026-02-30", 400, "“2026-02-30”不是有效日期"),
        ("/districts/410102?as_of=x", 400, "2026-06-30"),
        ("/?unit=dollar", 400, "<code>wan</code>"),
        ("/?as_of=2026-06-30&as_of=2026-06-29", 400, "重复"),
        (
            "/?as_of=2026-06-29",
            404,
            "2026年6月29日没有已完成的对账批次",
        ),
        ("/districts/999999", 404, "找不到这个区县"),
        ("/nowhere", 404, "找不到这个页面"),
        ("/assets/site-0.css", 404, "找不到这个页面"),
        ("/?as_of=&unit=", 200, "资金覆盖总览"),
    ] {
        let answer = ask(city, path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.body.contains(words), "{path}: {}", answer.body);
    }
    let long = format!("/districts/{}", "9".repeat(65));
    assert_eq!(ask(city, &long).await.status, 404);
    assert_eq!(ask_of(sample::state(city), "POST", "/").await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_book_says_which_commands_to_run() {
    let answer = ask(SampleSource::Empty, "/").await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("jintuo import") && answer.body.contains("jintuo reconcile"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_keeps_its_cause_to_itself() {
    let answer = ask(SampleSource::Broken, "/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("暂时读不到数据") && !answer.body.contains("10.0.0.7"));
    let ready = ask(SampleSource::Broken, "/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "not ready\n"));
    assert_eq!(ask(SampleSource::Broken, "/livez").await.status, 200);
    assert_eq!(ask(SampleSource::City, "/readyz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_style_sheet_is_found_and_kept_for_ever() {
    let body = ask(SampleSource::City, "/").await.body;
    let path = body
        .split("rel=\"stylesheet\" href=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let answer = ask(SampleSource::City, path).await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .head
            .contains("cache-control: public, max-age=31536000, immutable")
    );
    assert!(answer.head.contains("content-type: text/css"));
    assert_eq!(answer.body, super::assets::CSS);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_city_loses_no_district_and_hides_no_difference() {
    let body = ask(SampleSource::Small, "/").await.body;
    assert_eq!(body.matches("<a class=\"tile ").count(), 3);
    let loose = body
        .split("<ol class=\"tiles loose\"")
        .nth(1)
        .expect("districts without a tile");
    assert_eq!(
        loose
            .split("</ol>")
            .next()
            .unwrap()
            .matches("<a class=\"tile ")
            .count(),
        2
    );
    let nothing = body
        .split("<li")
        .find(|li| li.contains("<b>惠济区</b>"))
        .unwrap();
    assert!(
        nothing.contains("tile none") && nothing.contains("无应托管额"),
        "{nothing}"
    );
    assert!(
        body.contains("合计不符"),
        "one fen lies between the rows and the city"
    );
    assert!(body.contains("还没有可画的走势") && body.contains("没有这样的机构"));
    assert!(body.contains("badge none\"><span aria-hidden=\"true\">◆</span> 红色 0"));
}

#[test]
fn the_style_sheet_places_every_tile_and_needs_no_new_browser() {
    for side in 1..=12 {
        assert!(super::assets::CSS.contains(&format!(".c{side}{{grid-column:{side}}}")));
        assert!(super::assets::CSS.contains(&format!(".r{side}{{grid-row:{side}}}")));
    }
    for banned in [":has(", "@container", "container-type", "@import", "url("] {
        assert!(!super::assets::CSS.contains(banned), "{banned}");
    }
}

const BOUNDARY: &str = "X-boundary";

/// One file of a form, as a browser sends it.
fn part(name: &str, text: &str) -> String {
    format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n{text}\r\n"
    )
}

/// A field that is no file.
fn text(name: &str, value: &str) -> String {
    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

/// Posts a form to a router.
async fn upload(state: WebState, headers: &[(&'static str, &str)], body: String) -> Answer {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, router(state)).into_future());
    let mut head = format!(
        "POST /imports/preview HTTP/1.1\r\nHost: jintuo\r\nConnection: close\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let request = format!("{head}\r\n{body}");
    let answer = tokio::task::spawn_blocking(move || send(address, request.as_bytes())).await;
    server.abort();
    answer.unwrap()
}

fn form(parts: &[String]) -> String {
    format!("{}--{BOUNDARY}--\r\n", parts.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_sends_files_to_the_preview() {
    let body = ask(SampleSource::City, "/imports/new").await.body;
    for expected in [
        "method=\"post\" action=\"/imports/preview\" enctype=\"multipart/form-data\"",
        "<label for=\"files\">",
        "id=\"files\" name=\"files\" multiple required",
        "<label for=\"account\">",
        "<label for=\"amount_unit\">",
        "不保存任何内容",
        "href=\"/imports/new\" aria-current=\"page\"",
    ] {
        assert!(body.contains(expected), "{expected}");
    }
    // Also where there is no run yet, and from the overview.
    for (source, path) in [
        (SampleSource::Empty, "/imports/new"),
        (SampleSource::City, "/"),
    ] {
        let answer = ask(source, path).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("href=\"/imports/new\""), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_names_every_file_and_says_that_nothing_is_stored() {
    let state = sample::state(SampleSource::City);
    let parts = [
        part("<b>对账单.xml", "12345"),
        part("../../payments.csv", "1"),
        // A browser's way of saying that no file was chosen.
        part("", ""),
    ];
    let answer = upload(state, &[], form(&parts)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for expected in [
        "什么都没有保存",
        "&#60;b&#62;对账单.xml",
        "<span class=\"name\">payments.csv</span>",
        "<td class=\"num\">5</td>",
        "cache-control: no-store",
        "content-security-policy: default-src 'none'",
    ] {
        let whole = format!("{}\n{}", answer.head, answer.body);
        assert!(whole.contains(expected), "{expected} in {whole}");
    }
    assert!(!answer.body.contains("<b>对账单"));
    assert!(!answer.body.contains("../"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_files_leave_open_is_taken_from_the_form() {
    let state = sample::state(SampleSource::City);
    let parts = [
        text("account", " W<1> "),
        text("amount_unit", "fen"),
        text("another", "W2"),
        part("fund.csv", "1"),
    ];
    let answer = upload(state.clone(), &[], form(&parts)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let expected = "文件未写明，按填写：账号 W&#60;1&#62;，金额以分计";
    assert!(answer.body.contains(expected), "{}", answer.body);
    let parts = [
        text("account", ""),
        text("amount_unit", ""),
        part("fund.csv", "1"),
    ];
    let answer = upload(state, &[], form(&parts)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(!answer.body.contains("按填写"), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_cannot_be_previewed_says_why() {
    let good = form(&[part("a.xml", "1")]);
    let many: Vec<String> = (0..=super::preview::FILES_MAX)
        .map(|n| part(&format!("{n}.xml"), "1"))
        .collect();
    // With what stands around it, just too large.
    let large = "x".repeat(super::preview::BODY_BYTES_MAX);
    let foreign = [("Origin", "https://elsewhere.example")];
    for (headers, body, status, words) in [
        (&foreign[..], good.clone(), 403, "不接受其他网站的表单"),
        (
            &[("Sec-Fetch-Site", "cross-site")],
            good,
            403,
            "不接受其他网站的表单",
        ),
        (&[], form(&[part("", "")]), 422, "没有选择文件"),
        (
            &[],
            form(&[text("account", "6217 0000"), part("a.xml", "1")]),
            422,
            "“账号”一栏填写的“6217 0000”不是账号",
        ),
        (
            &[],
            form(&[text("account", &"6".repeat(300)), part("a.xml", "1")]),
            422,
            "请填写 accounts.csv 中登记的 account_id",
        ),
        (
            &[],
            form(&[text("amount_unit", "dollar"), part("a.xml", "1")]),
            422,
            "“金额单位”一栏的“dollar”不在可选范围内",
        ),
        (&[], part("a.xml", "1"), 400, "上传不完整"),
        (&[], form(&many), 413, "上传过大"),
        (&[], form(&[part("a.xml", &large)]), 413, "上传过大"),
    ] {
        let answer = upload(sample::state(SampleSource::City), headers, body).await;
        assert_eq!(answer.status, status, "{words}: {}", answer.body);
        assert!(answer.body.contains(words), "{}", answer.body);
    }
    let answer = ask(SampleSource::City, "/imports/preview").await;
    assert_eq!(answer.status, 405);
}

/// A port that says when it has begun and waits for leave to end.
struct Slow {
    begun: tokio::sync::mpsc::UnboundedSender<()>,
    end: std::sync::Arc<tokio::sync::Semaphore>,
}

impl ImportPreview for Slow {
    fn preview(
        &self,
        _: Vec<Upload>,
        _: Assumptions,
    ) -> BoxFuture<'static, Result<Summary, NoPreview>> {
        self.begun.send(()).unwrap();
        let end = self.end.clone();
        Box::pin(async move {
            end.acquire().await.unwrap().forget();
            Err(NoPreview::TooLong)
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_preview_at_a_time() {
    let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let end = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let slow = Slow {
        begun,
        end: end.clone(),
    };
    let state = WebState {
        previews: std::sync::Arc::new(Previews::new(std::sync::Arc::new(slow))),
        ..sample::state(SampleSource::City)
    };
    let good = form(&[part("a.xml", "1")]);
    let first = tokio::spawn(upload_to(state.clone(), good.clone()));
    has_begun.recv().await.unwrap();
    let second = upload(state.clone(), &[], good.clone()).await;
    assert_eq!(second.status, 503);
    assert!(second.head.contains("retry-after: 10"), "{}", second.head);
    assert!(second.body.contains("同一时间只做一个"));
    end.add_permits(2);
    for answer in [first.await.unwrap(), upload(state, &[], good).await] {
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains("预览超时"), "{}", answer.body);
    }
}

async fn upload_to(state: WebState, body: String) -> Answer {
    upload(state, &[], body).await
}
