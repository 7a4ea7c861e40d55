//! Messages that are filed by their header.

use super::*;
use postino::transaction::{
    Filing,
    filing::{FieldName, Folder, Pattern, Rule},
};
use postino_store::IfNoFolder;

fn filed(mut submission: Submission) -> Submission {
    let rule = Rule {
        header: FieldName::parse("subject").unwrap(),
        value: Pattern::parse("X").unwrap(),
        folder: Folder::parse("Letters/X").unwrap(),
    };
    submission.filing = Arc::new(Filing::new(vec![rule]));
    submission
}

#[test]
fn a_message_goes_into_the_folder_of_the_rule_that_its_header_fits() {
    let rig = rig(4, alone);
    rig.pool.deliver(filed(submission(1, &["a@d"])));
    assert_eq!(rig.call().mailboxes, ["a@d/Letters/X"]);
    let mut unlike = filed(submission(2, &["a@d"]));
    unlike.transaction.body = ReceivedBody::InMemory(b"Subject: y\r\n\r\n".to_vec());
    rig.pool.deliver(unlike);
    assert_eq!(rig.call().mailboxes, ["a@d"]);
}

#[test]
fn a_mailbox_that_is_a_folder_already_wins_over_a_rule() {
    let rig = rig(4, alone);
    let mut submission = filed(submission(1, &["a@d"]));
    let mailbox = Mailbox::new(name("a@d"), IfMissing::Create);
    submission.mailboxes = vec![mailbox.in_folder("Detail", IfNoFolder::Inbox).unwrap()];
    rig.pool.deliver(submission);
    assert_eq!(rig.call().mailboxes, ["a@d/Detail"]);
}
