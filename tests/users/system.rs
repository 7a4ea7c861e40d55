//! Real users of this system, made and removed again.

use crate::{
    Asking,
    client::Client,
    daemon::{Store, folder, until},
    made::{Made, can_make},
    serve_as,
};
use std::{fs, os::unix::fs::chown};

#[test]
fn the_systems_users_are_taken_but_for_those_below_first_uid() {
    if !can_make() {
        return;
    }
    let tag = std::process::id() % 10_000;
    let (person, service) = (format!("postino{tag}p"), format!("postino{tag}s"));
    let _made = (Made::new(&person, 40_000 + tag), Made::new(&service, 700));
    let folder = folder();
    // Whose mailbox lies in a directory of root's is given it.
    let mailbox = folder.path().join("mail").join(&person);
    fs::create_dir_all(&mailbox).unwrap();
    chown(&mailbox, Some(40_000 + tag), None).unwrap();
    let postmaster = format!("--postmaster={person}");
    let daemon = serve_as("--users=system", folder.path(), &[&postmaster]);
    until(|| daemon.log(), || daemon.log().contains(" users=system "));
    let mut asking = Asking::of(&daemon);
    let upper = person.to_uppercase();
    for (recipient, codes) in [
        (format!("{person}@localhost"), "250 2.1.5"),
        (format!("{upper}+x@MX.example.org"), "250 2.1.5"),
        (format!("{person}@elsewhere.example"), "550 5.1.2"),
        (format!("{person}x@localhost"), "550 5.1.1"),
        (format!("{service}@localhost"), "550 5.1.1"),
        ("root@localhost".to_owned(), "550 5.1.1"),
        ("0@localhost".to_owned(), "550 5.1.1"),
        ("postmaster".to_owned(), "250 2.1.5"),
        ("postmaster@localhost".to_owned(), "250 2.1.5"),
    ] {
        assert_eq!(asking.codes(&recipient), codes, "{recipient}");
    }
    let told = format!("the user {service} has uid 700");
    until(|| daemon.log(), || daemon.log().contains(&told));
    // Who comes later is known once the answer of before is forgotten.
    let late = format!("postino{tag}l");
    let address = format!("{late}@localhost");
    assert_eq!(asking.codes(&address), "550 5.1.1");
    let _late = Made::new(&late, 50_000 + tag);
    until(|| daemon.log(), || asking.codes(&address) == "250 2.1.5");

    let mut client = Client::connect(daemon.address());
    client.open();
    assert!(client.send(&format!("{upper}@localhost")).starts_with("250 2.0.0"));
    assert_eq!(Store::below(folder.path()).messages(&person).len(), 1);
    daemon.stop();
}
