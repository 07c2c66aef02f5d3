//! A disk in memory that can be full, fail, and forget what was never synced.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{DirEntry, Space, Stat};

/// What a simulated disk refuses to do, for every path that contains the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Reads fail with EIO.
    Read(String),
    /// Writes, resizes, creations and renames fail with EIO.
    Write(String),
    /// Syncs of files and directories fail with EIO.
    Sync(String),
}

/// A disk in memory; clones are the same disk.
///
/// Each file has the bytes a reader sees and the bytes a crash would leave. Names are durable once their
/// directory is synced; directories themselves always are.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

/// A path as bytes: paths themselves are compared part by part, which takes most of the time in here.
type Name = Box<[u8]>;

/// They know nothing of their disk: it would never be freed.
type Files = BTreeMap<Name, Arc<Mutex<Content>>>;

#[derive(Debug, Default)]
struct State {
    files: Files,
    durable_files: Files,
    dirs: BTreeSet<Name>,
    locks: BTreeSet<PathBuf>,
    faults: Vec<Fault>,
    /// Bytes that may still be written; `None` is no limit.
    room: Option<u64>,
    /// Changes and syncs that may still be made; `None` is no limit.
    changes_left: Option<u64>,
    changes: u64,
    now_ms: i64,
}

#[derive(Clone, Debug)]
pub(super) struct SimulatedFile {
    path: Arc<Path>,
    disk: Arc<Mutex<State>>,
    content: Arc<Mutex<Content>>,
}

#[derive(Debug, Default)]
struct Content {
    current: Sparse,
    synced: Sparse,
    modified_ms: i64,
}

/// Bytes followed by zeros up to `len`: preallocated index files cost nothing.
#[derive(Clone, Debug, Default)]
struct Sparse {
    bytes: Vec<u8>,
    len: usize,
}

impl SimulatedDisk {
    pub fn new() -> SimulatedDisk {
        SimulatedDisk::default()
    }

    /// Sets the time files written from now on were modified at.
    pub fn set_now(&self, now_ms: i64) {
        self.lock_state().now_ms = now_ms;
    }

    /// How many more bytes can be written before ENOSPC; `None` for no limit.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.lock_state().room = bytes;
    }

    /// How many more changes (writes, renames, removals and the like) and syncs succeed; `None` for no limit.
    pub fn set_changes_left(&self, changes: Option<u64>) {
        self.lock_state().changes_left = changes;
    }

    /// Makes the disk fail from now on.
    pub fn inject(&self, fault: Fault) {
        self.lock_state().faults.push(fault);
    }

    /// Ends all injected faults.
    pub fn heal(&self) {
        self.lock_state().faults.clear();
    }

    /// Power loss: files and names are back at what was last synced, locks are gone. Of the bytes appended
    /// to a file since its last sync, `keep(path, appended)` says how many reached the disk all the same;
    /// a name that was never synced survives if `keep` keeps any of its bytes.
    pub fn crash(&self, mut keep: impl FnMut(&Path, usize) -> usize) {
        let mut state = self.lock_state();
        let mut survivors = BTreeMap::new();
        let names: BTreeSet<Name> = state.files.keys().chain(state.durable_files.keys()).cloned().collect();
        for name in names {
            let durable = state.durable_files.get(&name);
            let Some(file) = durable.or_else(|| state.files.get(&name)) else { continue };
            let kept = lock(file).crash(|appended| keep(path_of(&name), appended));
            if durable.is_some() || kept > 0 {
                survivors.insert(name, Arc::clone(file));
            }
        }
        state.durable_files = survivors.clone();
        state.files = survivors;
        state.locks.clear();
    }

    /// Power loss as bad as a disk may make it: of what was never synced, each 512 bytes of a file, its
    /// length, and each directory's new names reached the disk or did not, as `reached` says for each.
    /// What lies beyond what was written is zeros.
    pub fn power_cut(&self, mut reached: impl FnMut() -> bool) {
        let mut state = self.lock_state();
        let mut keeps_names: BTreeMap<PathBuf, bool> = BTreeMap::new();
        let names: BTreeSet<Name> = state.files.keys().chain(state.durable_files.keys()).cloned().collect();
        let mut survivors = BTreeMap::new();
        for name in names {
            let dir = path_of(&name).parent().map(Path::to_path_buf).unwrap_or_default();
            let names = if *keeps_names.entry(dir).or_insert_with(&mut reached) {
                &state.files
            } else {
                &state.durable_files
            };
            survivors.extend(names.get_key_value(&name).map(cloned_pair));
        }
        let mut torn: Vec<Arc<Mutex<Content>>> = Vec::new();
        for file in survivors.values() {
            if !torn.iter().any(|content| Arc::ptr_eq(content, file)) {
                lock(file).tear(&mut reached);
                torn.push(Arc::clone(file));
            }
        }
        state.durable_files = survivors.clone();
        state.files = survivors;
        state.locks.clear();
        state.faults.clear();
        state.changes_left = None;
    }

    /// Every file there is.
    pub fn files(&self) -> Vec<PathBuf> {
        self.lock_state().files.keys().map(|name| path_of(name).to_path_buf()).collect()
    }

    /// Changes and syncs made so far.
    pub fn changes(&self) -> u64 {
        self.lock_state().changes
    }

    /// Another disk with the same on it, as a reader sees it; all of it counts as synced.
    pub fn copy(&self) -> SimulatedDisk {
        let copy = SimulatedDisk::new();
        let state = self.lock_state();
        let mut copied = copy.lock_state();
        for (name, file) in &state.files {
            let content = lock(file);
            let (current, modified_ms) = (content.current.clone(), content.modified_ms);
            let content = Content { synced: current.clone(), current, modified_ms };
            copied.files.insert(name.clone(), Arc::new(Mutex::new(content)));
        }
        copied.durable_files = copied.files.clone();
        copied.dirs = state.dirs.clone();
        drop(copied);
        copy
    }

    /// Changes the bytes of a file behind the broker's back.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let state = self.lock_state();
        if let Some(file) = state.files.get(name(path)) {
            let mut content = lock(file);
            content.current.make_dense();
            change(&mut content.current.bytes);
            content.current.len = content.current.bytes.len();
            content.synced = content.current.clone();
        }
    }

    pub(super) fn space(&self) -> Space {
        let room = self.lock_state().room.unwrap_or(1 << 40);
        Space { total: 1 << 40, usable: room }
    }

    pub(super) fn open(&self, path: &Path) -> io::Result<SimulatedFile> {
        let state = self.lock_state();
        state.check_read(path)?;
        let content = state.files.get(name(path)).ok_or_else(not_found)?;
        Ok(self.handle(path, content))
    }

    pub(super) fn open_or_create(&self, path: &Path) -> io::Result<SimulatedFile> {
        let mut state = self.lock_state();
        if let Some(content) = state.files.get(name(path)) {
            return Ok(self.handle(path, content));
        }
        state.check_write(path)?;
        if !path.parent().is_some_and(|parent| state.dirs.contains(name(parent))) {
            return Err(not_found());
        }
        let content = Content { modified_ms: state.now_ms, ..Content::default() };
        let content = Arc::new(Mutex::new(content));
        state.files.insert(name(path).into(), Arc::clone(&content));
        Ok(self.handle(path, &content))
    }

    fn handle(&self, path: &Path, content: &Arc<Mutex<Content>>) -> SimulatedFile {
        SimulatedFile { path: path.into(), disk: Arc::clone(&self.state), content: Arc::clone(content) }
    }

    pub(super) fn stat(&self, path: &Path) -> io::Result<Stat> {
        let state = self.lock_state();
        state.check_read(path)?;
        if state.dirs.contains(name(path)) {
            return Ok(Stat { len: 0, modified_ms: 0, is_dir: true });
        }
        let file = state.files.get(name(path)).ok_or_else(not_found)?;
        let content = lock(file);
        Ok(Stat { len: content.current.len as u64, modified_ms: content.modified_ms, is_dir: false })
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        state.check_write(from)?;
        let (from, to) = (name(from), name(to));
        if state.dirs.contains(from) {
            let moved = |name: &Name| match rest_below(from, name) {
                Some(rest) => [to, b"/", rest].concat().into(),
                None if **name == *from => to.into(),
                None => name.clone(),
            };
            state.dirs = state.dirs.iter().map(moved).collect();
            state.files = rekeyed(&state.files, moved);
            state.durable_files = rekeyed(&state.durable_files, moved);
            return Ok(());
        }
        let file = state.files.remove(from).ok_or_else(not_found)?;
        state.files.insert(to.into(), file);
        Ok(())
    }

    pub(super) fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        state.check_write(path)?;
        state.files.remove(name(path)).map(drop).ok_or_else(not_found)
    }

    pub(super) fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        state.check_write(path)?;
        let path = name(path);
        if !state.dirs.remove(path) {
            return Err(not_found());
        }
        state.dirs.retain(|dir| rest_below(path, dir).is_none());
        state.files.retain(|file, _| rest_below(path, file).is_none());
        state.durable_files.retain(|file, _| rest_below(path, file).is_none());
        Ok(())
    }

    pub(super) fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        state.check_write(path)?;
        state.dirs.extend(path.ancestors().map(|dir| name(dir).into()));
        Ok(())
    }

    pub(super) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        state.check_sync(path)?;
        let State { files, durable_files, .. } = &mut *state;
        let path = name(path);
        let is_new = |(name, file): &(&Name, &Arc<Mutex<Content>>)| {
            durable_files.get(*name).is_none_or(|durable| !Arc::ptr_eq(durable, file))
        };
        let new: Vec<_> = children(files, path).filter(is_new).map(cloned_pair).collect();
        let is_gone = |(name, _): &(&Name, _)| !files.contains_key(*name);
        let gone: Vec<_> =
            children(durable_files, path).filter(is_gone).map(|(name, _)| name.clone()).collect();
        for name in gone {
            durable_files.remove(&name);
        }
        durable_files.extend(new);
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.lock_state();
        state.check_read(path)?;
        let path = name(path);
        if !state.dirs.contains(path) {
            return Err(not_found());
        }
        let entry = |child: &Name, is_dir: bool| {
            let name = rest_below(path, child).filter(|rest| is_one_part(rest))?;
            Some(DirEntry { name: String::from_utf8_lossy(name).into_owned(), is_dir })
        };
        let dirs = state.dirs.iter().filter_map(|dir| entry(dir, true));
        Ok(dirs.chain(children(&state.files, path).filter_map(|(file, _)| entry(file, false))).collect())
    }

    pub(super) fn lock(&self, path: &Path) -> io::Result<bool> {
        self.open_or_create(path)?;
        Ok(self.lock_state().locks.insert(path.to_path_buf()))
    }

    pub(super) fn unlock(&self, path: &Path) {
        self.lock_state().locks.remove(path);
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check_read(&self, path: &Path) -> io::Result<()> {
        self.check(path, |fault| if let Fault::Read(text) = fault { Some(text) } else { None })
    }

    fn check_write(&mut self, path: &Path) -> io::Result<()> {
        self.take_change()?;
        self.check(path, |fault| if let Fault::Write(text) = fault { Some(text) } else { None })
    }

    fn check_sync(&mut self, path: &Path) -> io::Result<()> {
        self.take_change()?;
        self.check(path, |fault| if let Fault::Sync(text) = fault { Some(text) } else { None })
    }

    fn take_change(&mut self) -> io::Result<()> {
        self.changes += 1;
        match &mut self.changes_left {
            Some(0) => Err(failed()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn check(&self, path: &Path, text_of: impl Fn(&Fault) -> Option<&String>) -> io::Result<()> {
        if self.faults.is_empty() {
            return Ok(());
        }
        let path = path.to_string_lossy();
        let fails = self.faults.iter().filter_map(text_of).any(|text| path.contains(text.as_str()));
        if fails { Err(failed()) } else { Ok(()) }
    }

    /// Takes room for up to `wanted` bytes; what is missing is the caller's ENOSPC.
    fn take_room(&mut self, wanted: usize) -> usize {
        match &mut self.room {
            None => wanted,
            Some(room) => {
                let taken = wanted.min(usize::try_from(*room).unwrap_or(usize::MAX));
                *room -= taken as u64;
                taken
            }
        }
    }
}

impl SimulatedFile {
    pub(super) fn len(&self) -> u64 {
        self.lock_content().current.len as u64
    }

    /// A full disk takes the part of the bytes that it has room for, as a real one does.
    pub(super) fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let (room, now_ms) = {
            let mut state = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
            state.check_write(&self.path)?;
            (state.take_room(bytes.len()), state.now_ms)
        };
        let mut content = self.lock_content();
        let fits = bytes.get(..room).unwrap_or(bytes);
        content.current.write_at(usize::try_from(position).map_err(io::Error::other)?, fits);
        content.modified_ms = now_ms;
        if fits.len() < bytes.len() {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()));
        }
        Ok(())
    }

    pub(super) fn read_exact_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner).check_read(&self.path)?;
        let position = usize::try_from(position).map_err(io::Error::other)?;
        self.lock_content().current.read_exact_at(position, buffer)
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner).check_write(&self.path)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let mut content = self.lock_content();
        content.current.bytes.truncate(len);
        content.current.len = len;
        Ok(())
    }

    pub(super) fn set_modified(&self, modified_ms: i64) -> io::Result<()> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner).check_write(&self.path)?;
        self.lock_content().modified_ms = modified_ms;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner).check_sync(&self.path)?;
        let mut content = self.lock_content();
        content.synced = content.current.clone();
        Ok(())
    }

    fn lock_content(&self) -> MutexGuard<'_, Content> {
        lock(&self.content)
    }
}

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

impl Content {
    /// Forgets what was not synced, but for as many appended bytes as `keep` says; returns how many bytes are left.
    fn crash(&mut self, keep: impl FnOnce(usize) -> usize) -> usize {
        let synced = self.synced.len;
        let appended = self.current.len.saturating_sub(synced);
        let kept = keep(appended).min(appended);
        let mut after = self.synced.clone();
        let mut tail = vec![0; kept];
        if self.current.read_exact_at(synced, &mut tail).is_ok() {
            after.write_at(synced, &tail);
        }
        self.current = after.clone();
        self.synced = after;
        self.current.len
    }

    fn tear(&mut self, mut reached: impl FnMut() -> bool) {
        let len =
            if self.current.len == self.synced.len || reached() { self.current.len } else { self.synced.len };
        let mut after = Sparse { bytes: Vec::new(), len };
        let written = self.current.bytes.len().max(self.synced.bytes.len()).min(len);
        for start in (0..written).step_by(SECTOR) {
            let end = (start + SECTOR).min(written);
            let (new, old) = (self.current.sector(start, end), self.synced.sector(start, end));
            let kept = if new == old || reached() { new } else { old };
            after.write_at(start, &kept);
        }
        after.len = len;
        self.current = after.clone();
        self.synced = after;
    }
}

impl Sparse {
    /// Zeros where nothing was written.
    fn sector(&self, start: usize, end: usize) -> Vec<u8> {
        let mut sector = self.bytes.get(start..end.min(self.bytes.len())).unwrap_or_default().to_vec();
        sector.resize(end - start, 0);
        sector
    }

    fn make_dense(&mut self) {
        self.bytes.resize(self.len, 0);
    }

    fn write_at(&mut self, position: usize, bytes: &[u8]) {
        let end = position + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(target) = self.bytes.get_mut(position..end) {
            target.copy_from_slice(bytes);
        }
        self.len = self.len.max(end);
    }

    fn read_exact_at(&self, position: usize, buffer: &mut [u8]) -> io::Result<()> {
        if position.saturating_add(buffer.len()) > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let stored = self.bytes.get(position..).unwrap_or_default();
        let (written, zeros) = buffer.split_at_mut(stored.len().min(buffer.len()));
        written.copy_from_slice(stored.get(..written.len()).unwrap_or_default());
        zeros.fill(0);
        Ok(())
    }
}

fn name(path: &Path) -> &[u8] {
    let name = path.as_os_str().as_bytes();
    name.strip_suffix(b"/").unwrap_or(name)
}

fn path_of(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

/// What follows the directory's name and a slash.
fn rest_below<'a>(dir: &[u8], name: &'a [u8]) -> Option<&'a [u8]> {
    name.strip_prefix(dir)?.strip_prefix(b"/")
}

fn is_one_part(rest: &[u8]) -> bool {
    !rest.is_empty() && !rest.contains(&b'/')
}

/// The files of a directory itself. What lies below a directory stands together.
fn children<'a>(
    files: &'a Files,
    dir: &'a [u8],
) -> impl Iterator<Item = (&'a Name, &'a Arc<Mutex<Content>>)> {
    let first: Name = [dir, b"/"].concat().into();
    files
        .range(first..)
        .map_while(move |(name, file)| Some((rest_below(dir, name)?, name, file)))
        .filter(|(rest, ..)| is_one_part(rest))
        .map(|(_, name, file)| (name, file))
}

fn rekeyed(files: &Files, moved: impl Fn(&Name) -> Name) -> Files {
    files.iter().map(|(name, file)| (moved(name), Arc::clone(file))).collect()
}

fn cloned_pair((name, file): (&Name, &Arc<Mutex<Content>>)) -> (Name, Arc<Mutex<Content>>) {
    (name.clone(), Arc::clone(file))
}

fn lock(content: &Mutex<Content>) -> MutexGuard<'_, Content> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

#[cfg(test)]
mod tests;
