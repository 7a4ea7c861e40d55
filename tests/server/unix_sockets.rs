//! Unix sockets: whose they are, and who may take them over.

use crate::{
    client::{Client, serve},
    daemon::postino,
};
use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::Path,
    process::Command,
};

fn flag(path: &Path) -> String {
    format!("--listen=unix:{}", path.display())
}

/// A server that cannot start; gives its last words.
#[track_caller]
fn refused(folder: &Path, path: &Path) -> String {
    let store = format!("--store=maildir:{}", folder.join("mail").display());
    let output = Command::new(postino())
        .args(["serve", "--users=any", &store, &flag(path)])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(73), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_socket_that_a_killed_server_left_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    // Dropped, it is killed.
    drop(serve(folder.path(), &[&flag(&path)]));
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    let daemon = serve(folder.path(), &[&flag(&path)]);
    Client::connect_unix(&path).open();
    daemon.stop();
    // A lock file that stayed would make the next stranger's socket look ours.
    assert!(!path.exists() && !folder.path().join("s.lock").exists());
}

#[test]
fn a_socket_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let daemon = serve(folder.path(), &[&flag(&path)]);
    let words = refused(folder.path(), &path);
    assert!(words.contains("in use by a running postino"), "{words}");
    Client::connect_unix(&path).open();
    daemon.stop();
}

#[test]
fn a_socket_or_file_of_others_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let foreign = UnixListener::bind(&path).unwrap();
    let words = refused(folder.path(), &path);
    assert!(words.contains("another program answers there"), "{words}");
    drop(foreign);
    let words = refused(folder.path(), &path);
    assert!(words.contains("no postino left behind"), "{words}");
    assert!(path.exists());
    fs::remove_file(&path).unwrap();
    fs::write(&path, "a file").unwrap();
    let words = refused(folder.path(), &path);
    assert!(words.contains("no socket lies there"), "{words}");
    assert_eq!(fs::read(&path).unwrap(), b"a file");
    assert!(!folder.path().join("s.lock").exists());
}

#[test]
fn a_socket_has_the_mode_asked_for_and_a_setgid_directorys_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let is_root = rustix::process::getuid().is_root();
    if is_root {
        std::os::unix::fs::chown(folder.path(), None, Some(4711)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o2755)).unwrap();
    }
    for (mode, flags) in [(0o660, vec![]), (0o600, vec!["--socket-mode=0600"])] {
        let listen = flag(&path);
        let daemon = serve(folder.path(), &[&[&listen[..]], &flags[..]].concat());
        let socket = fs::symlink_metadata(&path).unwrap();
        assert_eq!(socket.mode() & 0o7777, mode);
        if is_root {
            assert_eq!(socket.gid(), 4711);
        }
        daemon.stop();
    }
}

#[test]
fn one_address_that_cannot_be_bound_undoes_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("good"), folder.path().join("none/bad"));
    let store = format!("--store=maildir:{}", folder.path().join("mail").display());
    let output = Command::new(postino())
        .args(["serve", "--users=any", &store, &flag(&good), &flag(&bad)])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(73), "{output:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
