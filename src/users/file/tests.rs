//! Files that change between two looks.

use super::{
    super::{location::Places, passwd_file::Rules},
    LOOKS, LOOKS_IF_UNLIKELY, UsersFile,
};
use std::{fs, path::PathBuf, sync::Arc};

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
    file: UsersFile,
}

fn rules() -> Rules {
    Rules {
        default_domain: Some("d".to_owned()),
        domains: Vec::new(),
        is_for_one_domain: false,
        places: Places {
            store_url: "maildir:/v".to_owned(),
            roots: Vec::new(),
            opens: Arc::new(|_| Ok(())),
        },
    }
}

fn lines(names: &[&str]) -> String {
    names.iter().flat_map(|name| [name, ":x\n"]).collect()
}

fn place(names: &[&str]) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    fs::write(&path, lines(names)).unwrap();
    let (file, warnings) = UsersFile::load(&path, rules()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    Place { _folder: folder, path, file }
}

impl Place {
    fn write(&self, text: &str) {
        // Another inode each time, so that no clock decides what is a change.
        let new = self.path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &self.path).unwrap();
    }

    fn look(&self, times: u32) {
        for _ in 0..times {
            self.file.look();
        }
    }

    /// What is said of each of these: known, unknown or uncertain.
    fn say(&self, names: &[&str]) -> String {
        let say = |name: &&str| {
            self.file.ask(|table, is_current| match table.get(&format!("{name}@d")) {
                Some(_) => 'k',
                None if is_current => 'u',
                None => '?',
            })
        };
        names.iter().map(say).collect()
    }
}

#[test]
fn a_changed_file_is_taken_once_it_stands_still() {
    let place = place(&["a", "b"]);
    assert_eq!(place.say(&["a", "b", "c"]), "kku");
    place.write(&lines(&["a", "b", "c"]));
    place.look(LOOKS - 1);
    assert_eq!(place.say(&["a", "b", "c"]), "kk?");
    place.write(&lines(&["a", "b", "c", "d"]));
    place.look(LOOKS - 1);
    assert_eq!(place.say(&["a", "b", "c"]), "kk?");
    place.look(1);
    assert_eq!(place.say(&["a", "b", "c", "d", "e"]), "kkkku");
}

#[test]
fn names_go_only_after_the_file_stood_still_for_longer() {
    let place = place(&["a", "b", "c"]);
    place.write(&lines(&["a", "b", "d"]));
    place.look(LOOKS_IF_UNLIKELY - 1);
    assert_eq!(place.say(&["a", "c", "d", "e"]), "kk??");
    place.look(1);
    assert_eq!(place.say(&["a", "c", "d", "e"]), "kuku");
}

#[test]
fn a_broken_empty_missing_or_halved_file_keeps_the_table() {
    let place = place(&["a", "b", "c", "d", "e"]);
    for text in ["a:x\nb", "", "# nobody\n", "a:x\nb:x\n"] {
        place.write(text);
        place.look(2 * LOOKS_IF_UNLIKELY);
        assert_eq!(place.say(&["a", "e", "f"]), "kk?", "{text:?}");
        assert_eq!(place.file.count(), 5);
    }
    fs::remove_file(&place.path).unwrap();
    place.look(2 * LOOKS_IF_UNLIKELY);
    assert_eq!(place.say(&["a", "e", "f"]), "kk?");
    place.write(&lines(&["a", "b", "c", "d", "e", "f"]));
    place.look(LOOKS);
    assert_eq!(place.say(&["a", "e", "f", "g"]), "kkku");
}

#[test]
fn a_file_that_comes_back_is_current_again() {
    let place = place(&["a"]);
    let away = place.path.with_extension("away");
    fs::hard_link(&place.path, &away).unwrap();
    place.file.reload(None);
    fs::remove_file(&place.path).unwrap();
    place.look(LOOKS);
    assert_eq!(place.say(&["a", "b"]), "k?");
    fs::rename(away, &place.path).unwrap();
    // Its ctime is another, so it is read again.
    place.look(LOOKS);
    assert_eq!(place.say(&["a", "b"]), "ku");
}

#[test]
fn a_reload_takes_a_smaller_file_but_no_broken_or_empty_one() {
    let place = place(&["a", "b", "c", "d", "e"]);
    for text in ["", "a:x\nb"] {
        place.write(text);
        place.file.reload(None);
        assert_eq!(place.say(&["a", "e", "f"]), "kk?", "{text:?}");
    }
    place.write(&lines(&["a"]));
    place.file.reload(None);
    assert_eq!(place.say(&["a", "e", "f"]), "kuu");
}

#[test]
fn a_good_file_that_comes_while_a_reload_reads_a_broken_one_is_taken() {
    let place = place(&["a"]);
    place.write("a:x::::::store=maildir:/v/a/mail\nb");
    let (path, good) = (place.path.clone(), lines(&["a", "b"]));
    let mut rules = rules();
    rules.places.roots = vec!["/v".into()];
    // Asked where the file's first line is read.
    rules.places.opens = Arc::new(move |_| {
        let new = path.with_extension("new");
        fs::write(&new, &good).and_then(|()| fs::rename(new, &path)).unwrap();
        Ok(())
    });
    place.file.reload(Some(rules));
    assert_eq!(place.say(&["a", "b", "c"]), "k??");
    place.look(LOOKS);
    assert_eq!(place.say(&["a", "b", "c"]), "kku");
}

#[test]
fn a_file_that_new_rules_find_broken_says_nothing_of_other_names() {
    let place = place(&["a"]);
    place.file.reload(Some(Rules { default_domain: None, ..rules() }));
    for _ in 0..=LOOKS {
        assert_eq!(place.say(&["a", "b"]), "k?");
        place.look(1);
    }
    place.file.reload(Some(rules()));
    assert_eq!(place.say(&["a", "b"]), "ku");
}

#[test]
fn a_last_line_without_an_end_may_still_be_written() {
    let place = place(&["a", "b"]);
    place.write(&(lines(&["a", "b"]) + "c@d:x:1000:1000::/home/ca"));
    place.look(LOOKS_IF_UNLIKELY - 1);
    assert_eq!(place.say(&["a", "b", "c"]), "kk?");
    place.look(1);
    assert_eq!(place.say(&["a", "b", "c", "e"]), "kkku");
}

#[test]
fn at_the_start_a_broken_file_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let load = || UsersFile::load(&path, rules()).map(drop).unwrap_err().to_string();
    let shown = path.display();
    assert!(load().starts_with(&format!("{shown}: cannot read it: No such file")), "{}", load());
    fs::write(&path, "a:x\n\nb").unwrap();
    assert!(load().starts_with(&format!("{shown}:3: there is no colon")), "{}", load());
    fs::write(&path, "").unwrap();
    assert!(load().contains("it has no entry"), "{}", load());
    let error = UsersFile::load(folder.path(), rules()).map(drop).unwrap_err();
    assert!(error.to_string().contains("no regular file"), "{error}");
}
