//! What the calls do, on the file system below the test's own directory.

use super::{Kernel, open_each, status_without_birth};
use crate::{Dir, Files, Identity, Kind, Status};
use rustix::fs::AtFlags;
use std::{
    ffi::OsStr,
    fs, io,
    ops::ControlFlow,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::atomic::Ordering,
};

fn root() -> (tempfile::TempDir, Kernel, Dir) {
    let directory = tempfile::tempdir().unwrap();
    let kernel = Kernel::new();
    let root = kernel.open_root(directory.path()).unwrap();
    (directory, kernel, root)
}

fn path(text: &str) -> &Path {
    Path::new(text)
}

#[test]
fn a_rename_never_overwrites_with_or_without_renameat2() {
    let (directory, kernel, root) = root();
    for way in [Kernel::rename, Kernel::link_and_unlink] {
        fs::write(directory.path().join("a"), "a").unwrap();
        fs::write(directory.path().join("b"), "b").unwrap();
        let refused = way(&kernel, &root, path("a"), &root, path("b")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(directory.path().join("b")).unwrap(), b"b");
        fs::remove_file(directory.path().join("b")).unwrap();
        way(&kernel, &root, path("a"), &root, path("b")).unwrap();
        assert_eq!(fs::read(directory.path().join("b")).unwrap(), b"a");
        assert!(!directory.path().join("a").exists());
    }
}

#[test]
fn a_rename_over_a_file_leaves_the_new_one_with_the_access_it_was_given() {
    let (directory, kernel, root) = root();
    fs::write(directory.path().join("old"), "old").unwrap();
    let file = kernel.create(&root, path("new"), 0o600).unwrap();
    let made = kernel.stat_file(&file).unwrap();
    // Only root can give it any.
    let owner = if made.owner == 0 { 12_345 } else { made.owner };
    let group = if made.owner == 0 { 12_346 } else { made.group };
    kernel.set_access(&file, owner, group, 0o640).unwrap();
    kernel.write_all(&file, b"new").unwrap();
    kernel.rename_over(&root, path("new"), &root, path("old")).unwrap();
    let status = kernel.stat(&root, path("old")).unwrap();
    assert_eq!((status.mode, status.owner, status.group), (0o640, owner, group));
    assert_eq!(status.identity, kernel.stat_file(&file).unwrap().identity);
    assert_eq!(fs::read(directory.path().join("old")).unwrap(), b"new");
    assert!(!directory.path().join("new").exists());
}

#[test]
fn no_symbolic_link_is_followed_below_the_root() {
    let (directory, kernel, root) = root();
    fs::create_dir_all(directory.path().join("real/inner")).unwrap();
    symlink("real", directory.path().join("link")).unwrap();
    symlink("nowhere", directory.path().join("dangling")).unwrap();
    let without_openat2 = Kernel::new();
    without_openat2.without_openat2.store(true, Ordering::Relaxed);
    for kernel in [&kernel, &without_openat2] {
        assert!(kernel.open_dir(&root, path("real/inner")).is_ok());
        assert!(kernel.open_dir(&root, path("link")).is_err());
        assert!(kernel.open_dir(&root, path("link/inner")).is_err());
    }
    assert!(open_each(&root, path("link/inner")).is_err());
    let refused = kernel.create(&root, path("dangling"), 0o600).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    assert!(kernel.open(&root, path("dangling")).is_err());
    assert_eq!(kernel.stat(&root, path("link")).unwrap().kind, Kind::Other);
}

#[test]
fn a_file_is_created_and_renamed_from_beside_a_directory_and_through_no_link() {
    let (directory, kernel, root) = root();
    let without_openat2 = Kernel::new();
    without_openat2.without_openat2.store(true, Ordering::Relaxed);
    for name in ["new", "tmp"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    symlink("tmp", directory.path().join("link")).unwrap();
    symlink("nowhere", directory.path().join("tmp/dangling")).unwrap();
    let new = kernel.open_dir(&root, path("new")).unwrap();
    for (kernel, name) in [(&kernel, "a"), (&without_openat2, "b")] {
        let draft = path("../tmp").join(name);
        let created = kernel.create(&new, &draft, 0o640).unwrap();
        assert_eq!(created.path(), directory.path().join("tmp").join(name));
        kernel.rename(&new, &draft, &new, path(name)).unwrap();
        let mode = fs::metadata(directory.path().join("new").join(name)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o7777, 0o640);
        for refused in ["../link/c", "../tmp/dangling", "../nowhere/c", "../tmp"] {
            assert!(kernel.create(&new, path(refused), 0o600).is_err(), "{refused}");
        }
    }
    assert_eq!(fs::read_dir(directory.path().join("tmp")).unwrap().count(), 1);
}

#[test]
fn a_path_is_opened_without_any_link_and_looked_at_through_all_but_the_last() {
    let (directory, kernel, root) = root();
    fs::create_dir_all(directory.path().join("real/inner")).unwrap();
    symlink("real", directory.path().join("link")).unwrap();
    let at = |text: &str| directory.path().join(text);
    let inner = kernel.stat(&root, path("real")).unwrap();
    assert_eq!(kernel.stat_path(&at("real")).unwrap(), inner);
    assert_eq!(kernel.stat_path(&at("link/.")).unwrap(), inner);
    assert_eq!(kernel.stat_path(&at("link")).unwrap().kind, Kind::Other);
    match kernel.open_path(&at("real/inner")) {
        Ok(dir) => assert_eq!(dir.path(), at("real/inner")),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
    }
    assert!(kernel.open_path(&at("link")).is_err());
    assert!(kernel.open_path(&at("link/inner")).is_err());
}

#[test]
fn a_file_without_a_name_is_read_at_any_place_and_gone_when_closed() {
    let (directory, kernel, root) = root();
    for way in [Kernel::create_unnamed, Kernel::create_and_unlink] {
        let file = way(&kernel, &root, 0o600).unwrap();
        kernel.write_all(&file, b"0123").unwrap();
        kernel.write_all(&file, b"4567").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(kernel.read_at(&file, &mut buffer, 2).unwrap(), 6);
        assert_eq!(&buffer[..6], b"234567");
        assert_eq!(kernel.read_at(&file, &mut buffer, 8).unwrap(), 0);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_file_without_a_name_can_be_given_several() {
    let (directory, kernel, root) = root();
    let file = kernel.create_unnamed(&root, 0o640).unwrap();
    kernel.write_all(&file, b"text").unwrap();
    for name in ["a", "b"] {
        kernel.link_unnamed(&file, &root, path(name)).unwrap();
        let refused = kernel.link_unnamed(&file, &root, path(name)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        let linked = directory.path().join(name);
        assert_eq!(fs::read(&linked).unwrap(), b"text");
        assert_eq!(fs::metadata(&linked).unwrap().permissions().mode() & 0o777, 0o640);
    }
}

#[test]
fn an_update_reads_anywhere_writes_at_the_end_and_cuts() {
    let (directory, kernel, root) = root();
    fs::write(directory.path().join("a"), "0123").unwrap();
    symlink("a", directory.path().join("link")).unwrap();
    let file = kernel.open_update(&root, path("a")).unwrap();
    fs::write(directory.path().join("a"), "01234567").unwrap();
    kernel.write_all(&file, b"89").unwrap();
    let mut buffer = [0; 4];
    assert_eq!(kernel.read_at(&file, &mut buffer, 6).unwrap(), 4);
    assert_eq!(&buffer, b"6789");
    assert_eq!(kernel.stat_file(&file).unwrap().size, 10);
    kernel.truncate(&file, 5).unwrap();
    assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"01234");
    assert_eq!(kernel.stat_file(&file).unwrap(), kernel.stat(&root, path("a")).unwrap());
    assert!(kernel.open_update(&root, path("link")).is_err());
    assert!(kernel.open_update(&root, path("b")).is_err());
}

#[test]
fn a_file_system_in_memory_is_told_from_others() {
    let kernel = Kernel::new();
    let space = |path_: &str| kernel.space(&kernel.open_root(path(path_)).unwrap()).unwrap();
    let proc = space("/proc");
    assert!(!proc.in_memory);
    if fs::read_to_string("/proc/mounts").unwrap().contains(" /dev/shm tmpfs ") {
        let shm = space("/dev/shm");
        assert!(shm.in_memory && shm.octets >= shm.octets_free && shm.octets > 0);
    }
}

#[test]
fn modes_are_as_given_and_a_setgid_parent_is_followed() {
    let (directory, kernel, root) = root();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o2700)).unwrap();
    for mode in [0o700, 0o772] {
        let name = format!("{mode:o}");
        kernel.make_dir(&root, path(&name), mode).unwrap();
        let made = fs::metadata(directory.path().join(&name)).unwrap();
        assert_eq!(made.permissions().mode() & 0o7777, 0o2000 | mode);
    }
    for mode in [0o600, 0o662] {
        let name = format!("file{mode:o}");
        kernel.create(&root, path(&name), mode).unwrap();
        let made = fs::metadata(directory.path().join(&name)).unwrap();
        assert_eq!(made.permissions().mode() & 0o7777, mode);
    }
}

#[test]
fn statx_and_stat_agree_but_for_the_birth() {
    let (directory, kernel, root) = root();
    fs::write(directory.path().join("a"), "text").unwrap();
    for (status, flags, name) in [
        (kernel.stat(&root, path("a")).unwrap(), AtFlags::SYMLINK_NOFOLLOW, "a"),
        (kernel.stat_dir(&root).unwrap(), AtFlags::EMPTY_PATH, ""),
    ] {
        let other = status_without_birth(&root, path(name), flags).unwrap();
        assert_eq!(other.identity.born, None);
        let identity = Identity { born: None, ..status.identity };
        assert_eq!(Status { identity, ..status }, other);
    }
}

#[test]
fn a_file_is_told_from_a_later_one_with_its_inode_where_the_file_system_can() {
    let (directory, kernel, root) = root();
    let born = kernel.stat_dir(&root).unwrap().identity.born;
    let created = fs::metadata(directory.path()).unwrap().created();
    let created = created.ok().map(|at| at.duration_since(std::time::UNIX_EPOCH).unwrap());
    assert_eq!(born, created.map(|at| (i64::try_from(at.as_secs()).unwrap(), at.subsec_nanos())));
}

#[test]
fn a_directory_is_read_up_to_the_limit_each_time_from_its_beginning() {
    let (directory, kernel, root) = root();
    for name in ["a", "b", "c"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    for _ in 0..2 {
        assert_eq!(kernel.read_dir(&root, 10).unwrap().len(), 3);
    }
    assert_eq!(kernel.read_dir(&root, 2).unwrap().len(), 2);
}

#[test]
fn a_file_is_given_the_time_of_its_content_and_its_last_reading_stays() {
    let (_directory, kernel, root) = root();
    let file = kernel.create(&root, Path::new("a"), 0o600).unwrap();
    let before = kernel.stat_file(&file).unwrap();
    kernel.set_written(&file, std::time::Duration::new(1_000_000_000, 5)).unwrap();
    let after = kernel.stat_file(&file).unwrap();
    assert_eq!((after.written, after.used), (1_000_000_000, before.used));
    assert!(kernel.set_written(&file, std::time::Duration::MAX).is_err());
}

#[test]
fn only_an_empty_directory_is_removed() {
    let (directory, kernel, root) = root();
    fs::create_dir_all(directory.path().join("full/empty")).unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    symlink("full/empty", directory.path().join("link")).unwrap();
    for name in ["full", "file", "link"] {
        kernel.remove_dir(&root, Path::new(name)).unwrap_err();
    }
    let full = kernel.open_dir(&root, Path::new("full")).unwrap();
    kernel.remove_dir(&full, Path::new("empty")).unwrap();
    kernel.remove_dir(&root, Path::new("full")).unwrap();
}

#[test]
fn names_are_visited_one_by_one_until_told_to_break() {
    let (directory, kernel, root) = root();
    for name in ["a", "b", "c"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    for most in [1, 2, 9] {
        let mut names = Vec::new();
        let visit = &mut |name: &OsStr| {
            names.push(name.to_owned());
            if names.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        kernel.visit_dir(&root, visit).unwrap();
        assert_eq!(names, kernel.read_dir(&root, most).unwrap());
        assert_eq!(names.len(), most.min(3));
    }
}
