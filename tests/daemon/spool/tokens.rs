//! Tokens that live for seconds, while calls speak and handshakes are refused.

use std::fs;
use std::time::{Duration, Instant};

use callscribe::service::config::ServiceConfig;
use callscribe::service::fault::{Action, At, Fault, Which};
use callscribe::service::gate::{Credentials, User};

use crate::spool::account::Account;
use crate::spool::station::{Station, ended};
use crate::support::Recogniser;

const CALLS: u16 = 8;
const TURNS: u64 = 4;
const SECONDS: u64 = 4;
const TOKEN_LIFE_S: u32 = 4;

/// A service that knows one user, gives tokens of a short life, and refuses some good ones.
fn forgetful_service() -> Recogniser {
    let user = User {
        name: "u".into(),
        password: "p".into(),
        domain: "d".into(),
    };
    let refuse = Action::Refuse {
        status: 401,
        code: "APIG.0301".into(),
        message: "token expires".into(),
    };
    Recogniser::start_as(ServiceConfig {
        credentials: Credentials {
            required: true,
            users: vec![user],
            token_life_s: Some(TOKEN_LIFE_S),
            ..Credentials::default()
        },
        faults: vec![Fault {
            at: At::Handshake,
            action: refuse,
            which: Which {
                first: 5,
                every: 9,
                ..Which::default()
            },
        }],
        ..ServiceConfig::default()
    })
}

#[test]
fn tokens_of_seconds_cost_no_word_and_few_fetches() {
    let service = forgetful_service();
    let address = service.endpoint().replace("ws://", "");
    // Each part has its handshake.
    let asr = format!("endpoint = \"ws://{address}\"\nkeep-connection-ms = 0");
    let identity = format!(
        "[asr.iam]\nendpoint = \"http://{address}\"\ndomain = \"d\"\nuser = \"u\"\n\
         password-file = \"password\"\nproject = \"x\"\n"
    );
    let mut station = Station::new(CALLS, &asr, &identity);
    let password = station.folder.path().join("password");
    fs::write(&password, "p\n").unwrap();
    station.replace("\"password\"", &format!("{password:?}"));
    station.start();
    let begun = Instant::now();
    let senders: Vec<_> = (0..usize::from(CALLS))
        .map(|call| station.speak_in_turns(call, SECONDS, TURNS))
        .collect();
    for mut sender in senders {
        sender.wait().unwrap();
    }
    let lines = station.lines(Duration::from_secs(60), ended(usize::from(CALLS)));
    let took = begun.elapsed();
    let account = Account::of(&lines);
    account.print("tokens");
    let counters = service.service().counters();
    let (tokens, refused) = (counters.tokens.total(), counters.faults.total());
    println!("| tokens, good ones refused, in | {tokens}, {refused}, {took:.1?} |");

    assert!(refused >= 3, "{refused} handshakes were refused");
    account.assert_whole(u64::from(CALLS), SECONDS * TURNS, 1);
    // One in half of each life, and one for each that was refused: two at once would be more.
    let lives = took.as_secs() / u64::from(TOKEN_LIFE_S) + 1;
    assert!(tokens > 2 && tokens <= 2 * lives + refused, "{tokens}");
}
