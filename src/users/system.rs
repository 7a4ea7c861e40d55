//! The users of this system.
//!
//! Lives here: who of them may get mail, and answers kept for a few seconds.
//! May not: be asked on the event loop; a name service may take its time.
//! Holds: a failure is never kept, nor taken for "unknown".

use super::Refusal;
use crate::{
    reply,
    sys::names::{self, Login, NameError},
};
use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Answers kept at the most; beyond that the oldest are forgotten.
const ANSWERS_MAX: usize = 1_000;

/// Who asks the name service.
#[derive(Debug)]
pub struct System {
    first_uid: u32,
    service: fn(&str) -> Result<Login, NameError>,
    /// In their order: few enough to be looked through.
    kept: Mutex<Vec<Kept>>,
}

/// What the name service said, and when.
#[derive(Clone, Debug)]
struct Kept {
    name: String,
    at: Instant,
    login: Option<Login>,
}

impl System {
    /// Users with a lower uid than this get no mail, nor does root.
    pub fn new(first_uid: u32) -> Self {
        Self { first_uid, service: names::login, kept: Mutex::default() }
    }

    /// The user of this name, as it is or in lower case. Nobody is unknown where this
    /// witness is, a user who was there when the settings were checked. May block.
    pub fn find(&self, name: &str, witness: Option<&str>) -> Result<Login, Refusal> {
        let lower = name.to_ascii_lowercase();
        let login = match self.ask(name, witness)? {
            None if lower != name => self.ask(&lower, witness)?,
            asked => asked,
        };
        let login = login.ok_or(Refusal::from(reply::UNKNOWN_RECIPIENT))?;
        if !self.may_get_mail(&login) {
            let cause = format!(
                "the user {} has uid {}, and first-uid is {}; an alias in the MTA would help",
                login.name, login.uid, self.first_uid
            );
            return Err(Refusal { reply: reply::UNKNOWN_RECIPIENT, cause: Some(cause) });
        }
        Ok(login)
    }

    /// All users who may get mail, as far as the name service lists them. May block.
    pub(super) fn all(&self) -> io::Result<Vec<Login>> {
        let mut logins = names::logins()?;
        logins.retain(|login| self.may_get_mail(login));
        Ok(logins)
    }

    fn may_get_mail(&self, login: &Login) -> bool {
        login.uid != 0 && login.uid >= self.first_uid
    }

    fn ask(&self, name: &str, witness: Option<&str>) -> Result<Option<Login>, Refusal> {
        if let Some(known) = self.known(name) {
            return Ok(known.login);
        }
        let answer = match (self.service)(name) {
            Ok(login) => Some(login),
            // An empty list of users, and some services that are down, know nobody.
            Err(NameError::Unknown) if witness.is_some_and(|it| (self.service)(it).is_err()) => {
                return Err(failed(format!(
                    "the user is not known, but neither is {} any more, who was there at the \
                     start; see what /etc/nsswitch.conf names for passwd",
                    witness.unwrap_or_default()
                )));
            }
            Err(NameError::Unknown) => None,
            Err(error @ NameError::Service(_)) => {
                return Err(failed(format!("the user is {error}")));
            }
        };
        let mut kept = self.kept();
        kept.retain(|kept| kept.at.elapsed() < KEPT_FOR);
        if kept.len() >= ANSWERS_MAX {
            kept.remove(0);
        }
        kept.push(Kept { name: name.to_owned(), at: Instant::now(), login: answer.clone() });
        Ok(answer)
    }

    fn known(&self, name: &str) -> Option<Kept> {
        let kept = self.kept();
        let fresh = kept.iter().find(|kept| kept.name == name && kept.at.elapsed() < KEPT_FOR);
        fresh.cloned()
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(cause: String) -> Refusal {
    Refusal { reply: reply::DIRECTORY_FAILED, cause: Some(cause) }
}

#[cfg(test)]
mod tests {
    use super::{ANSWERS_MAX, Login, NameError, System};
    use crate::reply;
    use std::{
        io,
        sync::atomic::{AtomicU32, Ordering},
    };

    #[test]
    fn who_is_not_there_is_unknown_and_root_is_refused() {
        let system = System::new(1_000);
        assert_eq!(system.find("no-such-user", None).unwrap_err().reply, reply::UNKNOWN_RECIPIENT);
        for first_uid in [0, 1_000] {
            let refusal = System::new(first_uid).find("root", None).unwrap_err();
            assert_eq!(refusal.reply, reply::UNKNOWN_RECIPIENT);
            assert!(refusal.cause.is_some_and(|cause| cause.contains("uid 0")));
        }
    }

    #[test]
    fn a_name_is_taken_as_it_is_or_in_lower_case() {
        let system = System::new(1);
        let daemon = system.find("daemon", None).unwrap();
        assert_eq!(system.find("DaeMon", None).unwrap(), daemon);
        assert!(daemon.uid > 0 && daemon.home.is_absolute());
    }

    #[test]
    fn answers_are_kept_but_no_failures() {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        fn service(name: &str) -> Result<Login, NameError> {
            ASKED.fetch_add(1, Ordering::Relaxed);
            let login = |name: &str| Login {
                name: name.into(),
                uid: 7,
                gid: 7,
                groups: vec![7],
                home: "/".into(),
            };
            match name {
                "there" => Ok(login(name)),
                "failing" => Err(NameError::Service(io::Error::from_raw_os_error(5))),
                _ => Err(NameError::Unknown),
            }
        }
        let system = System { service, ..System::new(1) };
        let asked = |name: &str| {
            let before = ASKED.load(Ordering::Relaxed);
            let found =
                system.find(name, None).map(|login| login.uid).map_err(|refusal| refusal.reply);
            (found, ASKED.load(Ordering::Relaxed) - before)
        };
        for (name, found, times) in [
            ("there", Ok(7), [1, 0]),
            ("absent", Err(reply::UNKNOWN_RECIPIENT), [1, 0]),
            ("failing", Err(reply::DIRECTORY_FAILED), [1, 1]),
            // As it is, then in lower case.
            ("Failing", Err(reply::DIRECTORY_FAILED), [2, 1]),
        ] {
            for times in times {
                assert_eq!(asked(name), (found.clone(), times), "{name}");
            }
        }
    }

    #[test]
    fn few_answers_are_kept() {
        let system = System::new(1_000);
        for n in 0..ANSWERS_MAX + 10 {
            let _ = system.find(&format!("no-such-user-{n}"), None);
        }
        assert!(system.kept.lock().unwrap().len() <= ANSWERS_MAX);
        assert!(system.known("no-such-user-1").is_none());
    }
}
