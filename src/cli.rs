//! min
use std::process::ExitCode;
use crate::base::Clock;
use crate::store::{Db, OpenOptions};
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    rt.block_on(async {
        let db = Db::open(&args[1], Clock::system(chrono_tz::Asia::Shanghai), &OpenOptions::default()).await.unwrap();
        let s = crate::intake::import(&db, &[args[2].clone().into()], &Default::default(), &mut crate::intake::Silent).await.unwrap();
        println!("{}", serde_json::to_string_pretty(&s).unwrap());
        db.close().await;
    });
    ExitCode::SUCCESS
}
