//! The kinds of damage that programs can do by SQL, to what `fill` has made.

use Then::{Lost, Mended, Stays};
use postino_store::FindingKind::{self, Damage, Stray};

/// What becomes of a finding once it may be mended.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Then {
    Mended,
    /// Something is done, but what is lost stays lost, and is told each time.
    Lost,
    Stays,
}

/// Its name, what does it, and what is found.
pub(crate) type Case = (&'static str, &'static str, FindingKind, &'static str, &'static str, Then);

pub(crate) const DAMAGES: &[Case] = &[
    (
        "a body's octets are others",
        "UPDATE bodies SET content = CAST('other' || content AS BLOB) WHERE id = 1",
        Damage,
        "body 1",
        "does not hold what was stored: its SHA-256 is ",
        Lost,
    ),
    (
        "a part's octets are others",
        "UPDATE body_parts SET content = zeroblob(65536) WHERE part = 2",
        Damage,
        "body 2",
        "does not hold what was stored",
        Lost,
    ),
    (
        "a part is missing",
        "DELETE FROM body_parts WHERE part = 1",
        Damage,
        "body 2",
        "has part 2 where part 1 should be",
        Lost,
    ),
    (
        "a part is too long",
        "UPDATE body_parts SET content = content || zeroblob(300000) WHERE part = 1",
        Damage,
        "body 2",
        "has a part 1 of 365536 octets",
        Lost,
    ),
    (
        "a part is cut otherwise",
        "UPDATE body_parts SET content = content ||
             (SELECT substr(content, 1, 9) FROM body_parts WHERE part = 4) WHERE part = 3;
         UPDATE body_parts SET content = substr(content, 10) WHERE part = 4",
        Damage,
        "body 2",
        "holds what was stored, but not as it should be; has a part 3 of 65545 octets",
        Mended,
    ),
    (
        "a body has content and parts",
        "UPDATE bodies SET content = '' WHERE id = 2",
        Damage,
        "body 2",
        "has both content and parts, and the octets of the parts alone are what was stored",
        Mended,
    ),
    (
        "a body has another content beside its parts",
        "UPDATE bodies SET content = 'other' WHERE id = 2",
        Damage,
        "body 2",
        "has both content and parts, and the octets of the parts alone are what was stored",
        Mended,
    ),
    (
        "a body has other parts beside its content",
        "INSERT INTO body_parts (body, part, content) VALUES (3, 0, 'one'), (3, 1, 'two')",
        Damage,
        "body 3",
        "has both content and parts, and the octets of the content alone are what was stored",
        Mended,
    ),
    (
        "a body has nothing",
        "UPDATE bodies SET content = NULL WHERE id = 3",
        Damage,
        "body 3",
        "has neither content nor parts",
        Lost,
    ),
    (
        "a body's size is wrong",
        "UPDATE bodies SET octets = 7 WHERE id = 2",
        Damage,
        "body 2",
        "is said to have 7 octets, but has 300000",
        Mended,
    ),
    (
        "a body of messages has no digest",
        "UPDATE bodies SET digest = NULL WHERE id = 2",
        Damage,
        "body 2",
        "has no digest, and would be removed by the next start, but it belongs to ",
        Mended,
    ),
    (
        "a body belongs to nobody",
        "DELETE FROM messages WHERE body = 2;
         UPDATE mailboxes SET messages = 1, octets = octets - 300000 - 30 WHERE id = 1",
        Stray,
        "body 2",
        "belongs to no message",
        Mended,
    ),
    (
        "a small body belongs to nobody",
        "DELETE FROM messages WHERE body = 3;
         UPDATE mailboxes SET messages = 1, octets = octets - 70 - 30 WHERE id = 2",
        Stray,
        "body 3",
        "belongs to no message",
        Mended,
    ),
    (
        "a delivery of long ago has left a body",
        "INSERT INTO bodies (octets) VALUES (65536);
         INSERT INTO body_parts (body, part, content) VALUES (4, 0, zeroblob(65536));
         INSERT INTO bodies (digest, octets, content)
             VALUES (x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 0, x'');
         INSERT INTO messages (id, mailbox, received, octets, reverse_path, recipient, header, body)
             VALUES ('1700000000000000R0000000000000000', 1, 0, 0, '', '', x'', 5);
         UPDATE mailboxes SET messages = messages + 1 WHERE id = 1",
        Stray,
        "body 4",
        "was begun for a delivery that has ended long ago",
        Mended,
    ),
    (
        "parts of no body",
        "INSERT INTO body_parts (body, part, content) VALUES (99, 0, 'text')",
        Stray,
        "body 99",
        "has parts, but is not there",
        Mended,
    ),
    (
        "a body's row is missing",
        "DELETE FROM bodies WHERE id = 2",
        Damage,
        "body 2",
        "is not there, but its parts are; it belongs to ",
        Mended,
    ),
    (
        "a message's body is missing",
        "DELETE FROM bodies WHERE id = 3",
        Damage,
        "message ",
        "has lost its body, 3",
        Stays,
    ),
    (
        "a message's mailbox is missing",
        "DELETE FROM mailboxes WHERE id = 2",
        Damage,
        "message ",
        "is in mailbox 2, which is not there",
        Mended,
    ),
    (
        "a message's size is wrong",
        "UPDATE messages SET octets = 8 WHERE body = 3;
         UPDATE mailboxes SET octets = octets - 70 - 30 + 8 WHERE id = 2",
        Damage,
        "message ",
        "is said to have 8 octets, but has 100",
        Mended,
    ),
    (
        "a mailbox's counters are wrong",
        "UPDATE mailboxes SET messages = 17 WHERE id = 2",
        Damage,
        "mailbox bob@example.org",
        "counts 17 messages of 1130 octets, but has 2 of 1130",
        Mended,
    ),
    (
        "a mailbox's name is no name",
        "UPDATE mailboxes SET name = '../etc' WHERE id = 2",
        Damage,
        "mailbox 2",
        "has a name that cannot be one, \"../etc\": ",
        Stays,
    ),
    (
        "a mailbox's name is no text",
        "UPDATE mailboxes SET name = x'ff' WHERE id = 2",
        Damage,
        "mailbox 2",
        "has a name that is no text",
        Stays,
    ),
    (
        "a folder's name is no name",
        "UPDATE mailboxes SET folder = 'a//b' WHERE id = 2",
        Damage,
        "mailbox 2",
        "has a folder that cannot be one, \"a//b\": ",
        Stays,
    ),
    (
        "flags are unknown",
        "UPDATE messages SET flags = 'XS' WHERE body = 3",
        Stray,
        "message ",
        "has flags that are not as they should be, \"XS\"",
        Stays,
    ),
    (
        "flags are out of order",
        "UPDATE messages SET flags = 'SF' WHERE body = 3",
        Stray,
        "message ",
        "has flags that are not as they should be, \"SF\"",
        Stays,
    ),
    (
        "an id is no word",
        "UPDATE messages SET id = 'a b' WHERE body = 3",
        Damage,
        "message 4",
        "has an id that is none of postino's, \"a b\"",
        Stays,
    ),
    (
        "a time is impossible",
        "UPDATE messages SET received = -1 WHERE body = 3",
        Stray,
        "message ",
        "came before 1970",
        Stays,
    ),
    (
        "the schema was changed",
        "DROP TRIGGER message_deleted",
        Damage,
        "",
        "cannot be used: its schema was changed: it has no TRIGGER message_deleted",
        Stays,
    ),
    (
        "the marker is another's",
        "PRAGMA application_id = 7",
        Damage,
        "",
        "it is not postino's (application_id 7, not 1886614638)",
        Stays,
    ),
    (
        "the version is a newer one",
        "PRAGMA user_version = 2",
        Damage,
        "",
        "a newer postino made it (schema version 2",
        Stays,
    ),
    (
        "an index does not fit its table",
        "PRAGMA writable_schema = ON;
         DELETE FROM sqlite_schema WHERE name = 'messages_by_body';
         PRAGMA writable_schema = RESET;
         UPDATE messages SET body = 1 WHERE body = 3;
         UPDATE messages SET octets = 1030 WHERE octets = 100",
        Damage,
        "",
        "it has no INDEX messages_by_body",
        Stays,
    ),
];
