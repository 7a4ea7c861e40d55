//! Where an account of a users file wants its mail.
//!
//! Lives here: from Dovecot's `userdb_mail` or postino's `store` to the URL of a
//! store, or to why it cannot be used.
//! May not: touch the disk; what is a link there is the store's matter.
//! Holds: what cannot be used is never replaced by another place.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// Says why a URL names no store, if it does not; touches no disk.
pub type Opens = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Where accounts may have their mail.
#[derive(Clone)]
pub struct Places {
    /// The URL of the store that has every account without a place of its own,
    /// with its variables.
    pub store_url: String,
    /// Directories below which an account may have a store of its own.
    pub roots: Vec<PathBuf>,
    /// Which URLs name a store.
    pub opens: Opens,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("roots", &self.roots).finish_non_exhaustive()
    }
}

/// What stands for a variable in an account's place.
#[derive(Clone, Copy)]
pub(super) struct Variables<'a> {
    /// The mailbox's name; none where it is not known yet.
    pub(super) name: Option<&'a str>,
    pub(super) domain: &'a str,
    pub(super) home: Option<&'a str>,
}

impl Places {
    /// The URL of an account's own store; none where that is where the account
    /// lies anyway. The URL's path is the mailbox itself, or the one file that a
    /// store is, as it stands: without variables. `/./` stands in it where the home or
    /// the root that it lies below ends.
    pub(super) fn own_store(
        &self,
        url: &str,
        variables: Variables<'_>,
    ) -> Result<Option<String>, String> {
        let url = variables.expand(url)?;
        let (scheme, rest) = url.split_once(':').ok_or("is not of the form SCHEME:PATH")?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if path.contains([':', '%']) {
            return Err("has options of Dovecot's or a percent sign in its path".to_owned());
        }
        let place = Path::new(path);
        let is_plain = |component| !matches!(component, Component::ParentDir);
        if !place.is_absolute() || !place.components().all(is_plain) {
            return Err("has a path that is not absolute, or has .. in it".to_owned());
        }
        let usual = variables.expand(&self.store_url).ok();
        let usual = usual.as_deref().and_then(|url| url.split_once(':'));
        if let Some((usual_scheme, rest)) = usual
            && query.is_empty()
            && usual_scheme == scheme
            && Path::new(rest.split_once('?').map_or(rest, |(path, _)| path)) == place
        {
            return Ok(None);
        }
        let is_above = |above: &&Path| place.starts_with(above) && place != *above;
        let roots = self.roots.iter().map(PathBuf::as_path).filter(is_above);
        let Some(root) = roots.max_by_key(|root| root.components().count()) else {
            return Err("is not below one of store-roots".to_owned());
        };
        (self.opens)(&url)?;
        let base = variables.home.map(Path::new).filter(is_above).unwrap_or(root);
        let text = |path: &Path| path.components().collect::<PathBuf>().display().to_string();
        let below = text(place.strip_prefix(base).unwrap_or(place));
        let (mut base, query) = (text(base), url.split_once('?').map(|(_, query)| query));
        base.truncate(base.trim_end_matches('/').len());
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Some(format!("{scheme}:{base}/./{below}{query}")))
    }
}

impl Variables<'_> {
    /// The text with `%u`, `%n`, `%d`, `%h` and a `~` in front of a path
    /// replaced, once.
    fn expand(&self, text: &str) -> Result<String, String> {
        const NO_HOME: &str = "needs a home directory, and the line has none";
        const NO_NAME: &str = "needs a name, and a catch-all has none";
        let home = || self.home.ok_or(NO_HOME);
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        if let Some((scheme, path)) = text.split_once(':')
            && (path == "~" || path.starts_with("~/"))
        {
            out.extend([scheme, ":", home()?]);
            rest = path.get(1..).unwrap_or_default();
        }
        while let Some((before, variable)) = rest.split_once('%') {
            out.push_str(before);
            let mut characters = variable.chars();
            match characters.next() {
                Some('u') => out.push_str(self.name.ok_or(NO_NAME)?),
                Some('n') => {
                    let name = self.name.ok_or(NO_NAME)?;
                    out.push_str(name.rsplit_once('@').map_or(name, |(local, _)| local));
                }
                Some('d') => out.push_str(self.domain),
                Some('h') => out.push_str(home()?),
                _ => return Err("has a variable that is none of %u, %n, %d and %h".to_owned()),
            }
            rest = characters.as_str();
        }
        out.push_str(rest);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::{Places, Variables};
    use std::sync::Arc;

    fn own(url: &str) -> Result<Option<String>, String> {
        let places = Places {
            store_url: "maildir:/var/mail/%d/%n?mode=0660".to_owned(),
            roots: vec!["/var/mail".into(), "/home".into()],
            opens: Arc::new(|url| {
                let is_known = url.starts_with("maildir:");
                is_known.then_some(()).ok_or_else(|| "unknown kind of store".to_owned())
            }),
        };
        let home = Some("/home/alice");
        places
            .own_store(url, Variables { name: Some("alice@d.example"), domain: "d.example", home })
    }

    #[test]
    fn the_usual_place_is_no_store_of_its_own() {
        for url in ["maildir:/var/mail/d.example/alice", "maildir:/var/mail/%d/%n/"] {
            assert_eq!(own(url), Ok(None), "{url}");
        }
    }

    #[test]
    fn variables_and_the_home_are_expanded_once() {
        for (url, path) in [
            ("maildir:~/Maildir", "/home/alice/./Maildir"),
            ("maildir:%h//x/./mail/", "/home/alice/./x/mail"),
            ("maildir:/var/mail/%u?mode=0660", "/var/mail/./alice@d.example?mode=0660"),
            ("maildir:/home/bob/x", "/home/./bob/x"),
            ("maildir:%h", "/home/./alice"),
        ] {
            assert_eq!(own(url), Ok(Some(format!("maildir:{path}"))), "{url}");
        }
    }

    #[test]
    fn a_place_that_cannot_be_used_is_refused() {
        for (url, why) in [
            ("/var/mail/x", "form"),
            ("maildir:~/Maildir:INBOX=/x", "options"),
            ("maildir:mail/x", "absolute"),
            ("maildir:/var/mail/../x", ".."),
            ("maildir:/srv/x", "store-roots"),
            ("maildir:/var/mail", "store-roots"),
            ("maildir:/var/mailx/y", "store-roots"),
            ("maildir:/var/mail/%Ln", "variable"),
            ("maildir:/var/mail/%", "variable"),
            ("maildir:/var/mail/%%", "variable"),
            ("imapc:/var/mail/x", "unknown kind"),
        ] {
            let told = own(url).unwrap_err();
            assert!(told.contains(why), "{url}: {told}");
        }
    }
}
