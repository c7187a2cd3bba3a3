//! The command line's grammar.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use super::{parse_day, parse_instant, parse_yuan};
use crate::bank_sim::{BANKS, BANKS_USUAL};
use crate::base::{AmountUnit, Day, Instant, Money};
use crate::decision::DecisionId;
use crate::policy;
use crate::wire::Assumptions;

/// 尽托: a prepaid-fee escrow supervision ledger.
#[derive(Parser)]
#[command(name = "jintuo", version)]
pub(super) struct Args {
    /// Database: sqlite:PATH or postgres://… (or JINTUO_DB).
    #[arg(long, global = true, value_name = "URL")]
    pub(super) db: Option<String>,
    /// Settings file (TOML).
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print one JSON object on stdout.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Log filter, such as info or jintuo=debug.
    #[arg(long, global = true, value_name = "FILTER")]
    pub(super) log: Option<String>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Take in bundles (folders, zips) and statement files.
    Import {
        #[arg(required = true, value_name = "DIR|ZIP|FILE")]
        inputs: Vec<PathBuf>,
        /// Go on although another import was interrupted, and keep what that one brought as it is.
        #[arg(long)]
        adopt_interrupted: bool,
        /// What these statement files say holds against what other statements said of the same days:
        /// settles a dispute.
        #[arg(long)]
        supersede: bool,
        /// Say what would happen, and store nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        assumed: AssumedArgs,
    },
    /// Statements that are here, that are missing, and why.
    Feed {
        #[command(subcommand)]
        command: FeedCommand,
    },
    /// Look at statement files without storing anything.
    Statement {
        #[command(subcommand)]
        command: StatementCommand,
    },
    /// Match, measure and flag one day.
    Reconcile {
        /// The business day.
        #[arg(long, value_parser = parse_day, value_name = "DATE")]
        as_of: Day,
        /// Only what was known at this instant; now if absent.
        #[arg(long, value_parser = parse_instant, value_name = "INSTANT")]
        known_at: Option<Instant>,
        #[arg(long, default_value = policy::DEFAULT, value_name = "NAME")]
        policy: String,
        /// Only this district.
        #[arg(long, value_name = "ID")]
        district: Option<String>,
        /// Portions of institutions prepared at a time; as many as there are processors if absent;
        /// no more than half the connections to the database.
        #[arg(long, value_name = "N")]
        threads: Option<NonZeroUsize>,
    },
    /// Print a report of a completed run.
    Report {
        name: ReportName,
        /// The business day; the newest reconciled one if absent.
        #[arg(long, value_parser = parse_day, value_name = "DATE")]
        as_of: Option<Day>,
        /// Only runs that knew no more than this instant.
        #[arg(long, value_parser = parse_instant, value_name = "INSTANT")]
        known_at: Option<Instant>,
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
        /// Only this district, from the run that knew most of it: over all districts or over this one.
        #[arg(long, value_name = "ID")]
        district: Option<String>,
        #[arg(long, default_value = "table")]
        format: ReportFormat,
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Say why a bank line, payment, release or refund was matched, or why not; and what findings rest on.
    Explain {
        /// Its id, or a finding as CODE/SUBJECT.
        id: String,
        /// The business day; the newest reconciled one if absent.
        #[arg(long, value_parser = parse_day, value_name = "DATE")]
        as_of: Option<Day>,
        /// Only runs that knew no more than this instant.
        #[arg(long, value_parser = parse_instant, value_name = "INSTANT")]
        known_at: Option<Instant>,
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
    },
    /// What people decide beside the rules: proposed by one, approved by another, undone singly.
    Decide {
        #[command(subcommand)]
        command: DecideCommand,
    },
    /// Re-prove the database's invariants; silent and 0 when all hold.
    Check,
    /// Re-prove the books as `check` does; with --replay, do a completed run again from the facts it knew and
    /// compare every row it left. 1 where something differs.
    Verify {
        #[arg(long)]
        replay: bool,
        /// The business day of the run; the newest reconciled one if absent.
        #[arg(long, value_parser = parse_day, value_name = "DATE", requires = "replay")]
        as_of: Option<Day>,
        /// Only runs that knew no more than this instant.
        #[arg(long, value_parser = parse_instant, value_name = "INSTANT", requires = "replay")]
        known_at: Option<Instant>,
        #[arg(long, value_name = "NAME", requires = "replay")]
        policy: Option<String>,
        /// Institutions at a time are prepared on so many threads.
        #[arg(long, value_name = "N", requires = "replay")]
        threads: Option<NonZeroUsize>,
    },
    /// Look at the settings.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Bring the database to this version.
    Migrate,
    /// Move the books to another database: every table copied in one transaction and compared, then checked.
    /// 1 where something differs or is broken.
    Copy {
        /// Address of the database the books are in; it stays as it is.
        #[arg(long, value_name = "URL")]
        from: String,
        /// Address of a new database, which may be of another kind.
        #[arg(long, value_name = "URL")]
        to: String,
        /// Write nothing: compare what the two hold.
        #[arg(long)]
        only_compare: bool,
    },
    /// Serve the pages.
    Serve {
        /// Address and port.
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<String>,
        /// Address and port of livez, readyz and metrics; empty for none.
        #[arg(long, value_name = "ADDRESS")]
        admin_listen: Option<String>,
    },
    /// Simulated banks for trying feeds out: statements over HTTP and in folders, with seeded trouble.
    BankSim(BankSimArgs),
    /// A fictional city: simulate, take in, reconcile day by day, serve.
    Demo(DemoArgs),
}

#[derive(Debug, Subcommand)]
pub(super) enum FeedCommand {
    /// Each day of each account: proven, revised, exempt, late, gap or disputed. Exit code 4 where one
    /// of the last three is among them.
    Status {
        /// The last day looked at; without it, the last one a statement is owed for.
        #[arg(long, value_parser = parse_day)]
        as_of: Option<Day>,
        /// Whose expected days count; without it, the policy of the day's newest run, else `default`.
        #[arg(long)]
        policy: Option<String>,
    },
    /// Record that an account owes no statement for some days, and why.
    Exempt {
        account: String,
        #[arg(long, value_parser = parse_day)]
        from: Day,
        #[arg(long, value_parser = parse_day)]
        to: Day,
        /// Why none is owed; it is shown beside each of the days.
        #[arg(long, required_unless_present = "end", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: Option<String>,
        /// End an exemption of exactly these days.
        #[arg(long, conflicts_with = "reason")]
        end: bool,
    },
    /// Files that feeds brought and that are not in the books: waiting, refused, left alone, discarded.
    Deliveries {
        /// Also those that are in the books.
        #[arg(long)]
        all: bool,
    },
    /// Have a refused or poison delivery read again, its attempts counted anew.
    Retry {
        delivery: i64,
        #[command(flatten)]
        word: Word,
    },
    /// Set a delivery aside for good: never tried again, its bytes kept.
    Discard {
        delivery: i64,
        #[command(flatten)]
        word: Word,
    },
    /// Have the service ask a feed for a day again, whatever became of it before.
    Fetch {
        feed: String,
        #[arg(long, value_parser = parse_day, value_name = "DATE")]
        day: Day,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum DecideCommand {
    /// Propose that payments and bank lines settle each other.
    Match {
        #[command(flatten)]
        members: MembersArgs,
        /// The lines less the payments, in yuan, where they differ and that is accepted.
        #[arg(long, default_value = "0", allow_hyphen_values = true, value_parser = parse_yuan, value_name = "YUAN")]
        difference: Money,
        #[command(flatten)]
        word: Word,
        #[command(flatten)]
        terms: Terms,
    },
    /// Propose that payments and bank lines do not settle each other, whatever the rules say.
    Unmatch {
        #[command(flatten)]
        members: MembersArgs,
        #[command(flatten)]
        word: Word,
        #[command(flatten)]
        terms: Terms,
    },
    /// Propose that a finding about a fact is closed for good.
    WriteOff {
        /// CODE/SUBJECT as in the breaks report; a bank line also as CODE/ACCOUNT/ENTRY.
        finding: String,
        /// Its date, where there are several.
        #[arg(long, value_parser = parse_day)]
        date: Option<Day>,
        #[command(flatten)]
        word: Word,
        #[command(flatten)]
        terms: Terms,
    },
    /// Propose that a finding is left out for a time, 92 days at most.
    Waive {
        /// CODE/SUBJECT as in the breaks report; a bank line also as CODE/ACCOUNT/ENTRY.
        finding: String,
        /// Its date, where there are several.
        #[arg(long, value_parser = parse_day)]
        date: Option<Day>,
        #[command(flatten)]
        word: Word,
        #[command(flatten)]
        terms: Terms,
    },
    /// Put a proposal of somebody else in force.
    Approve {
        decision: DecisionId,
        #[command(flatten)]
        voice: Voice,
    },
    /// Turn a proposal down, or withdraw one's own.
    Reject {
        decision: DecisionId,
        #[command(flatten)]
        voice: Voice,
    },
    /// Take one decision back that is in force.
    Undo {
        decision: DecisionId,
        #[command(flatten)]
        word: Word,
    },
    /// Proposals and what they would do, decisions in force, and those that no longer fit their facts.
    List {
        /// Also what was rejected, undone or has expired.
        #[arg(long)]
        all: bool,
    },
}

/// Movements by the ids of their senders.
#[derive(Debug, ClapArgs)]
pub(super) struct MembersArgs {
    #[arg(long = "payment", required = true, num_args = 1.., value_name = "ID")]
    pub(super) payments: Vec<String>,
    /// A bank line; with its account where several have one of that id.
    #[arg(long = "line", required = true, num_args = 1.., value_name = "[ACCOUNT/]ENTRY")]
    pub(super) lines: Vec<String>,
}

/// How far a proposal goes.
#[derive(Debug, ClapArgs)]
pub(super) struct Terms {
    /// The last as-of day on which it holds.
    #[arg(long, value_parser = parse_day, value_name = "DATE")]
    pub(super) expires: Option<Day>,
    /// Where several institutions know the ids.
    #[arg(long, value_name = "ID")]
    pub(super) institution: Option<String>,
}

/// Who says yes or no to a proposal.
#[derive(Debug, ClapArgs)]
pub(super) struct Voice {
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) by: String,
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "TEXT"
    )]
    pub(super) reason: String,
}

/// What statement files may leave open.
#[derive(ClapArgs)]
pub(super) struct AssumedArgs {
    /// The account, as registered, of statement files that name none; one that names another is refused.
    #[arg(long, value_name = "ACCOUNT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    account: Option<String>,
    /// Whether amounts are yuan or fen in a bank's reply that leaves it open (ICBC).
    #[arg(long, value_name = "yuan|fen")]
    amount_unit: Option<AmountUnit>,
}

impl From<AssumedArgs> for Assumptions {
    fn from(args: AssumedArgs) -> Assumptions {
        Assumptions {
            account: args.account,
            amount_unit: args.amount_unit,
        }
    }
}

/// Who decided something, and why; recorded for good.
#[derive(Debug, ClapArgs)]
pub(super) struct Word {
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) reason: String,
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) by: String,
}

#[derive(Subcommand)]
pub(super) enum StatementCommand {
    /// Parse and verify statement files.
    Inspect {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        assumed: AssumedArgs,
    },
}

#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Name everything that is wrong with them, without asking the network; 0 when they can be used.
    Check {
        /// Also ask the database whether every feed's bank holds accounts there.
        #[arg(long)]
        accounts: bool,
    },
    /// Print what is in force, and where it comes from; secrets only as where they lie.
    Print {
        /// Also hide places of secrets, hosts, private networks, logins and account numbers.
        #[arg(long)]
        redact: bool,
    },
}

#[derive(ClapArgs)]
pub(super) struct DemoArgs {
    /// Same seed, same figures.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    #[arg(long, default_value_t = 200)]
    pub(super) institutions: usize,
    /// Business days, the last one 2026-06-30.
    #[arg(long, default_value_t = 60)]
    pub(super) days: usize,
    /// Keep the city's files and database here; a temporary folder if absent.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// First port tried.
    #[arg(long, default_value_t = 8080)]
    pub(super) port: u16,
    /// Serve livez, readyz and metrics on this address and port too.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) admin_listen: Option<String>,
    /// Stop after the district table, without serving.
    #[arg(long)]
    pub(super) no_serve: bool,
}

#[derive(ClapArgs)]
pub(super) struct BankSimArgs {
    /// Address and port; port 0 takes a free one, which is printed.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub(super) listen: String,
    /// Same seed, same files and same trouble.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// manifest.json, registry/ and drop/BANK/ are written here.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// How many banks: four tell one story each of a format.
    #[arg(long, default_value_t = BANKS_USUAL)]
    pub(super) banks: usize,
    /// How many of them, the last ones, never deliver anything.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(super) absent: usize,
    /// Accounts of each bank.
    #[arg(long, default_value_t = 3)]
    pub(super) accounts: usize,
    /// Days with statements, the last one `--last`.
    #[arg(long, default_value_t = 10)]
    pub(super) days: usize,
    #[arg(long, value_parser = parse_day, default_value = "2026-06-30", value_name = "DATE")]
    pub(super) last: Day,
    /// The day it is at the banks: what is owed later is not shown; the machine's day if absent.
    #[arg(long, value_parser = parse_day, value_name = "DATE")]
    pub(super) today: Option<Day>,
    /// Account-days with trouble, of a thousand.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub(super) trouble: i64,
    /// Requests that begin trouble on the wire (errors, 429, silence), of a thousand.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(super) wire_trouble: i64,
    /// Serve over HTTPS with a certificate for `--tls-name`, made in this folder with its authority (ca.pem)
    /// and a client's certificate (client.pem) unless they are there.
    #[arg(long, value_name = "DIR")]
    pub(super) tls: Option<PathBuf>,
    /// Hosts and addresses the certificate made by `--tls` is for, besides loopback and `--listen`'s.
    #[arg(long, value_name = "NAME", requires = "tls")]
    pub(super) tls_name: Vec<String>,
    /// Serve over HTTPS with this certificate (PEM).
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "tls"
    )]
    pub(super) tls_cert: Option<PathBuf>,
    /// The key of `--tls-cert` (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// Serve only clients with a certificate of this authority (PEM); `--tls` makes one of its ca.pem.
    #[arg(long, value_name = "FILE")]
    pub(super) client_ca: Option<PathBuf>,
    /// Have a bank answer only those who show the token in FILE: `sim-a=FILE`.
    #[arg(long, value_name = "BANK=FILE", value_parser = parse_bank_file)]
    pub(super) bearer: Vec<(String, PathBuf)>,
    /// Have a bank answer only requests signed with the key in FILE, HMAC-SHA256: `sim-b=FILE`. The feed is called
    /// as the bank, and so is its key (`key_id`).
    #[arg(long, value_name = "BANK=FILE", value_parser = parse_bank_file)]
    pub(super) hmac_sha256: Vec<(String, PathBuf)>,
    /// The same with HMAC-SM3.
    #[arg(long, value_name = "BANK=FILE", value_parser = parse_bank_file)]
    pub(super) hmac_sm3: Vec<(String, PathBuf)>,
    /// Serve over SFTP as well, user `jintuo`; sftp/host_key.pub and sftp/login_key are written below --dir.
    #[cfg(feature = "sftp")]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) sftp: Option<String>,
    /// Stop once the files are written, without serving.
    #[arg(long)]
    pub(super) no_serve: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum ReportName {
    Districts,
    Institutions,
    Breaks,
    Matches,
    /// Credits that the rules left to people, with the payments that may be meant.
    Reviews,
    /// Of each custody account, bank and books to the fen: closing and what is under way, contract cash and rest.
    Proofs,
    /// Findings that people have written off or waived.
    Waived,
    /// Per bank and month: how late, how often corrected, how well named.
    Banks,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum ReportFormat {
    Table,
    Json,
    Csv,
}

/// `BANK=FILE` of a simulated bank.
fn parse_bank_file(text: &str) -> Result<(String, PathBuf), String> {
    let (bank, file) = text
        .split_once('=')
        .filter(|(_, file)| !file.is_empty())
        .ok_or("write BANK=FILE")?;
    if BANKS.iter().any(|(name, _)| *name == bank) {
        return Ok((bank.to_owned(), PathBuf::from(file)));
    }
    Err(format!("{bank:?} is none of sim-a to sim-l"))
}
