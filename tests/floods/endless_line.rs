//! A command line that does not end.

use crate::{
    flood::{Flood, Server, sized},
    honest::deliver,
    too_big::is_silent,
};

/// What a session may have before it is ended.
const ERRORS_MAX: usize = 20;

#[test]
fn a_line_without_end_is_one_error_once_it_ends() {
    let octets = sized(8 << 20, 64 << 20);
    let flood = Flood::begin(&Server::default());
    let piece = "x".repeat(64 << 10);
    flood.again(|| {
        let mut client = flood.session();
        for _ in 0..octets / piece.len() {
            client.say(&piece);
        }
        assert!(is_silent(&flood, client.0.get_mut()), "a reply before the line's end");
        client.say("\r\n");
        assert!(client.line().starts_with("500 5.5.2 "));
        // It was one of the errors that a session may have.
        client.say("NONSENSE\r\n".repeat(ERRORS_MAX - 1));
        client.say("NOOP\r\n");
        for _ in 0..ERRORS_MAX - 1 {
            assert!(client.line().starts_with("500 5.5.2 "));
        }
        assert_eq!(client.line(), "250 2.0.0 Ok");
        assert!(deliver(&mut client, "a@x.org").starts_with("250 2.0.0 "));
    });
    flood.end();
}
