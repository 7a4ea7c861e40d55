//! Names of users, groups and this host.
//!
//! Lives here: getpwnam_r, getgrnam_r and getgrouplist, with their buffers; getpwent.
//! May not: be called on the event loop; a name service may take its time.
#![allow(unsafe_code, reason = "the C library alone knows the host's name services")]
#![allow(clippy::doc_markdown, reason = "names of C functions")]

use std::{
    ffi::{CStr, CString, OsStr, c_char, c_int},
    fmt, io,
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    ptr,
    sync::{Mutex, PoisonError},
};

/// Octets of a name service's answer: the first try, and where it ends.
const BUFFER_OCTETS: usize = 1024;
const BUFFER_OCTETS_MAX: usize = 1024 * 1024;

/// Supplementary groups that are asked for first, and those that a user may have: the
/// kernel's NGROUPS_MAX.
const GROUPS_FIRST: usize = 64;
const GROUPS_MAX: usize = 65_536;

/// A user, as far as we need one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's id.
    pub uid: u32,
    /// The user's own group; none where only a number was given.
    pub gid: Option<u32>,
}

/// A user who can log in, as the system knows him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name as the system writes it.
    pub name: String,
    /// The user's id.
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
    /// All the groups that the user is in.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: PathBuf,
}

/// Why a name is of no use.
#[derive(Debug)]
pub enum NameError {
    /// Nobody is called so.
    Unknown,
    /// It could not be asked.
    Service(io::Error),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("not known to this system"),
            Self::Service(error) => write!(f, "not to be looked up: {error}"),
        }
    }
}

impl std::error::Error for NameError {}

/// A user by name, or by number.
pub fn user(name: &str) -> Result<User, NameError> {
    let by_name = passwd(name, |entry| Some(User { uid: entry.pw_uid, gid: Some(entry.pw_gid) }));
    or_number(by_name, name, |uid| User { uid, gid: None })
}

/// A user by name alone. One whose name is no UTF-8 is unknown.
pub fn login(name: &str) -> Result<Login, NameError> {
    // SAFETY: its strings are in the buffer that was given, which outlives the call.
    let login = passwd(name, |entry| unsafe { without_groups(entry) })?;
    Ok(login.with_groups())
}

/// Every user whom the name service lists, in its order; those of some services are
/// found by name alone. One whose name is no UTF-8 is left out.
pub fn logins() -> io::Result<Vec<Login>> {
    /// The C library has one place in the list for the whole process.
    static LIST: Mutex<()> = Mutex::new(());
    let alone = LIST.lock().unwrap_or_else(PoisonError::into_inner);
    let mut logins = Vec::new();
    // SAFETY: nobody else calls these three; an entry is copied before the next call,
    // which is how long it and its strings last. The place of errno is this thread's.
    unsafe {
        libc::setpwent();
        let ended = loop {
            *libc::__errno_location() = 0;
            match libc::getpwent().as_ref() {
                Some(entry) => logins.extend(without_groups(entry)),
                None => break io::Error::last_os_error(),
            }
        };
        libc::endpwent();
        if !matches!(ended.raw_os_error(), Some(0 | libc::ENOENT | libc::ESRCH)) {
            return Err(ended);
        }
    }
    drop(alone);
    Ok(logins.into_iter().map(Login::with_groups).collect())
}

impl Login {
    fn with_groups(self) -> Self {
        Self { groups: groups_of(&self.name, self.gid), ..self }
    }
}

/// A user of this entry.
///
/// # Safety
///
/// The entry's name and home point to strings.
unsafe fn without_groups(entry: &libc::passwd) -> Option<Login> {
    // SAFETY: the caller says so.
    let (name, home) = unsafe { (CStr::from_ptr(entry.pw_name), CStr::from_ptr(entry.pw_dir)) };
    Some(Login {
        name: name.to_str().ok()?.to_owned(),
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        groups: Vec::new(),
        home: OsStr::from_bytes(home.to_bytes()).into(),
    })
}

/// What `read` makes of a user's entry, whose strings are there for that call.
fn passwd<T>(name: &str, read: impl Fn(&libc::passwd) -> Option<T>) -> Result<T, NameError> {
    look_up(name, |name, buffer| {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: all pointers are to live memory of the sizes given, for the
        // length of the call; `entry` is read only where `found` says so.
        let error = unsafe {
            libc::getpwnam_r(
                name,
                entry.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        if error != 0 || found.is_null() {
            return (error, None);
        }
        // SAFETY: a result that is not null is `entry`, written as a whole.
        (0, read(&unsafe { entry.assume_init() }))
    })
}

/// A group's id, by name or by number.
pub fn group(name: &str) -> Result<u32, NameError> {
    let by_name = look_up(name, |name, buffer| {
        let mut entry = MaybeUninit::<libc::group>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: as for a user.
        let error = unsafe {
            libc::getgrnam_r(
                name,
                entry.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        if error != 0 || found.is_null() {
            return (error, None);
        }
        // SAFETY: a result that is not null is `entry`, written as a whole.
        (0, Some(unsafe { entry.assume_init() }.gr_gid))
    });
    or_number(by_name, name, |gid| gid)
}

/// The groups of a user, `gid` among them; only that where they can't be told. Asks
/// the name service.
pub fn groups_of(name: &str, gid: u32) -> Vec<u32> {
    let Ok(name) = CString::new(name) else { return vec![gid] };
    let mut groups = vec![0; GROUPS_FIRST];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).unwrap_or(0);
        // SAFETY: the pointers are to live memory, and `count` is its length.
        let found =
            unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        match usize::try_from(count) {
            Ok(count) if found >= 0 => {
                groups.truncate(count);
                return groups;
            }
            // Not every C library says how many there are.
            _ if groups.len() < GROUPS_MAX => groups.resize(groups.len() * 4, 0),
            _ => return vec![gid],
        }
    }
}

/// This host's name.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn or_number<T>(
    by_name: Result<T, NameError>,
    name: &str,
    of_number: impl FnOnce(u32) -> T,
) -> Result<T, NameError> {
    match (by_name, name.parse()) {
        (Err(NameError::Unknown), Ok(number)) => Ok(of_number(number)),
        (by_name, _) => by_name,
    }
}

/// Calls `ask` with a buffer that grows until the answer has room in it.
fn look_up<T>(
    name: &str,
    ask: impl Fn(*const c_char, &mut [c_char]) -> (c_int, Option<T>),
) -> Result<T, NameError> {
    let name = CString::new(name).map_err(|_| NameError::Unknown)?;
    let mut buffer = vec![0; BUFFER_OCTETS];
    loop {
        return match ask(name.as_ptr(), &mut buffer) {
            (0, Some(found)) => Ok(found),
            // POSIX has "no such entry" as no error; some services have these.
            (0 | libc::ENOENT | libc::ESRCH, None) => Err(NameError::Unknown),
            (libc::EINTR, _) => continue,
            (libc::ERANGE, _) if buffer.len() < BUFFER_OCTETS_MAX => {
                buffer.resize(buffer.len() * 2, 0);
                continue;
            }
            (error, _) => Err(NameError::Service(io::Error::from_raw_os_error(error))),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{Login, NameError, User, group, groups_of, host_name, login, logins, user};

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        assert_eq!(user("root").unwrap(), User { uid: 0, gid: Some(0) });
        assert_eq!(user("4711").unwrap(), User { uid: 4711, gid: None });
        assert_eq!(group("root").unwrap(), 0);
        assert_eq!(group("4711").unwrap(), 4711);
        for unknown in ["no-such-name", "", "nul\0", "-1"] {
            assert!(matches!(user(unknown), Err(NameError::Unknown)), "{unknown:?}");
            assert!(matches!(group(unknown), Err(NameError::Unknown)), "{unknown:?}");
        }
    }

    #[test]
    fn a_login_is_found_by_its_name_alone() {
        let groups = groups_of("root", 0);
        let root = Login { name: "root".to_owned(), uid: 0, gid: 0, groups, home: "/root".into() };
        assert_eq!(login("root").unwrap(), root);
        for unknown in ["no-such-name", "0", "", "nul\0"] {
            assert!(matches!(login(unknown), Err(NameError::Unknown)), "{unknown:?}");
        }
    }

    #[test]
    fn the_list_has_what_is_found_by_name() {
        let all = logins().unwrap();
        assert_eq!(all.iter().find(|login| login.name == "root"), Some(&login("root").unwrap()));
        assert_eq!(logins().unwrap(), all);
    }

    #[test]
    fn the_host_has_a_name() {
        assert!(!host_name().is_empty());
    }
}
