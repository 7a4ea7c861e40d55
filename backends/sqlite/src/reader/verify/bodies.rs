//! The bodies: whether each holds what its digest says, and somebody refers to it.
//!
//! Lives here: these checks, and what can be done about what they find.
//! May not: call a body damaged that is only being removed.
//! Holds: what is taken out of the database stands in a file first. A body's digest
//! stands for its octets to every later delivery of the same ones: one that holds
//! others would swallow new mail, so it must not keep that digest; nor may it get that
//! of what it holds, which would make damage pass for mail.

use super::{
    change::change,
    content::{self, Content, Half},
    digests, lost,
    renew::renew,
    report::{Mend, Report},
};
use crate::{
    ahead::alone,
    body::{self, Released, number},
    connections::Connections,
    fault::{Doing, Fault},
    reader::{
        list::Text,
        remove::{LOCK_WAIT, remove_parts},
        stream::octets,
    },
};
use rusqlite::{OptionalExtension, params};
use std::{
    fmt::{self, Write as _},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Numbers of a page.
const PAGE: u32 = 256;

/// No delivery takes so long.
const OLD: Duration = Duration::from_secs(3_600);

/// Messages from which a body's age is taken.
const MESSAGES_ASKED: u32 = 16;

/// Messages that are named.
const MESSAGES_NAMED: u32 = 3;

const ADVICE_DAMAGED: &str =
    "put back a backup beside, and copy these messages from there; look at the disk";

const ADVICE_UNMARKED: &str = "put back a backup beside, and copy these messages from there; look at the disk; until a repair has taken its digest away new mail of the same content is stored as this";

const ADVICE_CHANGED: &str = "find out which program changed it";

/// A body's row.
#[derive(PartialEq)]
struct Row {
    digest: Option<Vec<u8>>,
    octets: i64,
    is_used: bool,
}

pub(crate) fn check(report: &mut Report<'_>) -> Result<(), Fault> {
    let connections = report.connections();
    let bodies = "SELECT id FROM bodies WHERE id > ?1 ORDER BY id LIMIT ?2";
    each(connections, bodies, |id| check_one(report, id))?;
    let ownerless = "SELECT DISTINCT body FROM body_parts
             WHERE body > ?1 AND body NOT IN (SELECT id FROM bodies) ORDER BY body LIMIT ?2";
    each(connections, ownerless, |id| check_ownerless(report, id))
}

/// Has each number looked at that a query gives, a page at a time.
fn each(
    connections: &Connections,
    query: &'static str,
    mut look: impl FnMut(i64) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut last = i64::MIN;
    loop {
        let page = connections.read(|database| {
            let read = || {
                database
                    .connection()
                    .prepare_cached(query)?
                    .query_map(params![last, PAGE], |row| row.get::<_, i64>(0))?
                    .collect()
            };
            let read: rusqlite::Result<Vec<_>> = read();
            read.doing("read the bodies of")
        })?;
        let is_last = page.len() < PAGE as usize;
        for id in page {
            last = id;
            look(id)?;
        }
        if is_last {
            return Ok(());
        }
    }
}

fn check_one(report: &mut Report<'_>, id: i64) -> Result<(), Fault> {
    let connections = report.connections();
    let place = format!("body {id}");
    let Some(found) = row(connections, id)? else { return Ok(()) };
    match (&found.digest, found.is_used) {
        (Some(digest), true) => check_content(report, id, &found, digest),
        (Some(_), false) => {
            report.stray(
                &place,
                "belongs to no message".to_owned(),
                "find out which program removed its messages with the triggers switched off (postino-sqlite(5))",
                Some(keeping(connections, id, "remove it", move || release(connections, id))?),
            );
            Ok(())
        }
        (None, false) if is_old(connections, id)? => {
            let remove = move || {
                remove_parts(connections, &[id]);
                Ok("removed it".to_owned())
            };
            report.stray(
                &place,
                "was begun for a delivery that has ended long ago".to_owned(),
                "nothing is missing: the sender was told so; the next start of postino removes it",
                Some(keeping(connections, id, "remove it", remove)?),
            );
            Ok(())
        }
        (None, false) => Ok(()),
        (None, true) => {
            let messages = messages_of(connections, id)?;
            let complete = move || complete(connections, id, found.octets);
            report.damage(
                &place,
                format!("has no digest, and would be removed by the next start, but {messages}"),
                "find out which program changed it; do not start postino before it is mended",
                Some(Mend::new("give it the digest of what it holds", complete)),
            );
            Ok(())
        }
    }
}

fn check_content(
    report: &mut Report<'_>,
    id: i64,
    found: &Row,
    digest: &[u8],
) -> Result<(), Fault> {
    let connections = report.connections();
    let place = format!("body {id}");
    let content = content::read(connections, id, &mut |_| Ok(()))?;
    // What was removed meanwhile was not damaged.
    if row(connections, id)?.as_ref() != Some(found) {
        return Ok(());
    }
    let stored = digests::stored(digest);
    let (is_right, is_well) = (content.digest[..] == *stored, content.flaws.is_empty());
    let old = digest.to_vec();
    let octets = content.octets;
    if let Some(half) = right_half(content.apart, stored) {
        let what = format!("has both content and parts, and the {half} alone are what was stored");
        let drop = move || match half {
            RightHalf::Content(content) => digests::drop_parts(connections, id, &old, &content),
            RightHalf::Parts(parts) => digests::drop_content(connections, id, &old, &parts),
        };
        let mend = keeping(connections, id, "drop the other", drop)?;
        report.damage(&place, what, ADVICE_CHANGED, Some(mend));
    } else if !is_right || !is_well {
        let mut what = if is_right {
            "holds what was stored, but not as it should be".to_owned()
        } else {
            format!(
                "does not hold what was stored: its SHA-256 is {}, not {}",
                hexadecimal(&content.digest),
                hexadecimal(stored)
            )
        };
        for more in content.flaws.iter().chain([&messages_of(connections, id)?]) {
            let _ = write!(what, "; {more}");
        }
        let is_marked = digests::is_marked(digest);
        let mend = if !is_well {
            let renew = move || renew(connections, id, &old).map(|()| "stored it anew".to_owned());
            Some(keeping(connections, id, "store it anew", renew)?)
        } else if !is_marked || number(octets) != found.octets {
            let mark = move || digests::mark(connections, id, &old, octets);
            Some(keeping(connections, id, "take its digest away", mark)?)
        } else {
            None
        };
        let (advice, mend) = match (is_right, is_marked) {
            (true, _) => (ADVICE_CHANGED, mend),
            (false, true) => (ADVICE_DAMAGED, mend.map(Mend::cures_nothing)),
            (false, false) => (ADVICE_UNMARKED, mend.map(Mend::cures_nothing)),
        };
        report.damage(&place, what, advice, mend);
    } else if digests::is_marked(digest) {
        report.damage(
            &place,
            "holds what was stored again, but has the digest of a damaged one".to_owned(),
            "a repair makes it a body like others",
            Some(Mend::new("give it its digest back", move || {
                digests::unmark(connections, id, &old, octets)
            })),
        );
    } else if number(content.octets) != found.octets {
        let real = content.octets;
        let set = move || set_octets(connections, id, real);
        report.damage(
            &place,
            format!("is said to have {} octets, but has {real}", found.octets),
            ADVICE_CHANGED,
            Some(Mend::new("set its size right", set)),
        );
    }
    Ok(())
}

/// The one of content and parts that is as it was stored.
enum RightHalf {
    Content(Half),
    Parts(Half),
}

impl fmt::Display for RightHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Content(_) => "octets of the content",
            Self::Parts(_) => "octets of the parts",
        })
    }
}

fn right_half(apart: Option<(Half, Half)>, stored: &[u8]) -> Option<RightHalf> {
    let (content, parts) = apart?;
    if parts.digest[..] == *stored {
        Some(RightHalf::Parts(parts))
    } else {
        (content.digest[..] == *stored).then_some(RightHalf::Content(content))
    }
}

/// Parts of a body that is not there.
fn check_ownerless(report: &mut Report<'_>, id: i64) -> Result<(), Fault> {
    let connections = report.connections();
    let place = format!("body {id}");
    let advice =
        "find out which program removed it with the triggers switched off (postino-sqlite(5))";
    let messages = messages_of(connections, id)?;
    if messages.is_empty() {
        let remove = move || remove_ownerless(connections, id);
        report.stray(
            &place,
            "has parts, but is not there".to_owned(),
            advice,
            Some(keeping(connections, id, "remove them", remove)?),
        );
    } else {
        report.damage(
            &place,
            format!("is not there, but its parts are; {messages}"),
            advice,
            Some(Mend::new("make it anew of its parts", move || restore(connections, id))),
        );
    }
    Ok(())
}

fn row(connections: &Connections, id: i64) -> Result<Option<Row>, Fault> {
    connections.read(|database| {
        database
            .connection()
            .prepare_cached(
                "SELECT digest, octets, EXISTS (SELECT 1 FROM messages WHERE body = ?1)
                     FROM bodies WHERE id = ?1",
            )
            .and_then(|mut statement| {
                let read = statement.query_row([id], |row| {
                    Ok(Row {
                        digest: octets(row.get_ref(0)?).map(<[u8]>::to_vec),
                        octets: row.get(1)?,
                        is_used: row.get(2)?,
                    })
                });
                read.optional()
            })
            .doing("read the bodies of")
    })
}

/// Whether it was begun so long ago that nobody can still be at it: a body that was
/// begun later was delivered before [`OLD`], as its message's id tells.
fn is_old(connections: &Connections, id: i64) -> Result<bool, Fault> {
    let ids: Vec<Text> = connections.read(|database| {
        let read = || {
            database
                .connection()
                .prepare_cached("SELECT id FROM messages WHERE body > ?1 ORDER BY body LIMIT ?2")?
                .query_map(params![id, MESSAGES_ASKED], |row| Ok(Text::of(row.get_ref(0)?)))?
                .collect()
        };
        let read: rusqlite::Result<Vec<_>> = read();
        read.doing("read the messages of")
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let times = ids.iter().filter_map(|id| id.as_str()?.split_once('R')?.0.parse().ok());
    Ok(times.map(Duration::from_micros).any(|time| now.saturating_sub(time) > OLD))
}

/// Which messages have a body, for people; empty where none has it.
fn messages_of(connections: &Connections, id: i64) -> Result<String, Fault> {
    let (ids, count): (Vec<Text>, i64) = connections.read(|database| {
        let connection = database.connection();
        let read = || {
            let ids = connection
                .prepare_cached("SELECT id FROM messages WHERE body = ?1 ORDER BY rowid LIMIT ?2")?
                .query_map(params![id, MESSAGES_NAMED], |row| Ok(Text::of(row.get_ref(0)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let count = connection
                .prepare_cached("SELECT count(*) FROM messages WHERE body = ?1")?
                .query_row([id], |row| row.get(0))?;
            Ok((ids, count))
        };
        let read: rusqlite::Result<_> = read();
        read.doing("read the messages of")
    })?;
    if ids.is_empty() {
        return Ok(String::new());
    }
    let named = ids.iter().map(|id| id.as_str().map_or_else(|| id.shown(), str::to_owned));
    let mut text = format!("it belongs to {}", named.collect::<Vec<_>>().join(", "));
    let more = usize::try_from(count).unwrap_or(0).saturating_sub(ids.len());
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    Ok(text)
}

/// Keeps what a body holds in a file, and only then does something.
fn keeping<'a>(
    connections: &'a Connections,
    id: i64,
    doing: &str,
    then: impl FnOnce() -> Result<String, String> + 'a,
) -> Result<Mend<'a>, Fault> {
    let place = connections.place();
    let database = place.path().file_name().unwrap_or_default().to_string_lossy();
    let name = format!("{database}-body-{id}");
    let path = lost::directory(place)?;
    Ok(Mend::new(format!("keep a copy in {} and {doing}", path.display()), move || {
        let kept =
            lost::keep(place, &name, |write| content::read(connections, id, write).map(drop));
        let path = kept.map_err(|fault| fault.error(place.path()).to_string())?;
        let path = path.display();
        match then() {
            Ok(done) => Ok(format!("kept a copy in {path} and {done}")),
            Err(cause) => Err(format!("{cause}; a copy is in {path}")),
        }
    }))
}

/// Removes a body to which still no message refers.
fn release(connections: &Connections, id: i64) -> Result<String, String> {
    let released = alone(connections, LOCK_WAIT, |connection| body::release(connection, id));
    match released {
        Ok(Released::Kept) => Err("a message has it by now, or it is gone".to_owned()),
        Ok(Released::Gone) => Ok("removed it".to_owned()),
        Ok(Released::InParts) => {
            remove_parts(connections, &[id]);
            Ok("removed it".to_owned())
        }
        Err(fault) => Err(fault.error(connections.place().path()).to_string()),
    }
}

fn set_octets(connections: &Connections, id: i64, octets: u64) -> Result<String, String> {
    change(connections, "set its size right", |connection| {
        connection
            .prepare_cached("UPDATE bodies SET octets = ?2 WHERE id = ?1 AND digest IS NOT NULL")?
            .execute([id, number(octets)])
    })
}

/// Reads a body that is whole; a reason where it is not.
fn read_whole(connections: &Connections, id: i64) -> Result<Content, String> {
    let content = content::read(connections, id, &mut |_| Ok(()))
        .map_err(|fault| fault.error(connections.place().path()).to_string())?;
    if content.flaws.is_empty() { Ok(content) } else { Err(content.flaws.join(", ")) }
}

/// Gives a body its digest to which messages refer without one.
fn complete(connections: &Connections, id: i64, octets: i64) -> Result<String, String> {
    let content = read_whole(connections, id)?;
    if number(content.octets) != octets {
        return Err(format!("{} octets are left of {octets}", content.octets));
    }
    change(connections, "gave it the digest of what it holds", |connection| {
        connection
            .prepare_cached(
                "UPDATE bodies SET digest = ?2 WHERE id = ?1 AND digest IS NULL AND octets = ?3",
            )?
            .execute(params![id, content.digest, octets])
    })
}

/// Makes the row again of a body whose parts and messages are there.
fn restore(connections: &Connections, id: i64) -> Result<String, String> {
    let content = read_whole(connections, id)?;
    change(connections, "made it anew of its parts", |connection| {
        connection
            .prepare_cached("INSERT INTO bodies (id, digest, octets) VALUES (?1, ?2, ?3)")?
            .execute(params![id, content.digest, number(content.octets)])
    })
}

/// Removes parts that no body and no message has.
fn remove_ownerless(connections: &Connections, id: i64) -> Result<String, String> {
    change(connections, "removed them", |connection| {
        connection
            .prepare_cached(
                "DELETE FROM body_parts WHERE body = ?1
                     AND NOT EXISTS (SELECT 1 FROM bodies WHERE id = ?1)
                     AND NOT EXISTS (SELECT 1 FROM messages WHERE body = ?1)",
            )?
            .execute([id])
    })
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}
