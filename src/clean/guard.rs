//! The original data is never written to.

use std::path::{Path, PathBuf};

use super::CleanError;

/// Refuses paths in the data folder, through links as well.
pub struct Guard {
    data: PathBuf,
}

impl Guard {
    /// `out` must be neither the data folder nor in it.
    pub fn new(data: &Path, out: &Path) -> Result<Guard, CleanError> {
        let data = data.canonicalize().map_err(|source| CleanError::Io { path: data.into(), source })?;
        let guard = Guard { data };
        guard.check(out)?;
        Ok(guard)
    }

    /// Whether a file or folder may be made at `path`.
    pub fn check(&self, path: &Path) -> Result<(), CleanError> {
        let real = real(path).map_err(|source| CleanError::Io { path: path.into(), source })?;
        if real.starts_with(&self.data) {
            return Err(CleanError::InsideData { out: path.into(), data: self.data.clone() });
        }
        Ok(())
    }
}

/// The path with links followed, as far as it exists.
fn real(path: &Path) -> std::io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    // `a/../b` of what does not exist yet is taken by its text; what exists is resolved by the system.
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            std::path::Component::ParentDir => {
                plain = plain.canonicalize().unwrap_or(plain);
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    let mut missing = Vec::new();
    let mut existing = plain.as_path();
    loop {
        match existing.canonicalize() {
            Ok(mut real) => {
                real.extend(missing.iter().rev());
                return Ok(real);
            }
            Err(error) => match (existing.parent(), existing.file_name()) {
                (Some(parent), Some(name)) => {
                    missing.push(name.to_owned());
                    existing = parent;
                }
                _ => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_folder_is_out_of_bounds() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        std::fs::create_dir_all(data.join("train")).unwrap();
        let refused = |out: PathBuf| matches!(Guard::new(&data, &out), Err(CleanError::InsideData { .. }));
        assert!(refused(data.clone()));
        assert!(refused(data.join("train/crops/new")));
        assert!(refused(root.path().join("new/../data/crops")));
        assert!(!refused(root.path().join("crops")));
        assert!(!refused(root.path().join("data2")));
        assert!(!refused(data.join("../crops")));
    }

    #[cfg(unix)]
    #[test]
    fn links_into_the_data_are_seen_through() {
        let root = tempfile::tempdir().unwrap();
        let (data, out) = (root.path().join("data"), root.path().join("crops"));
        std::fs::create_dir_all(data.join("train")).unwrap();
        std::fs::create_dir_all(&out).unwrap();
        std::os::unix::fs::symlink(data.join("train"), out.join("train")).unwrap();
        let guard = Guard::new(&data, &out).unwrap();
        assert!(guard.check(&out.join("train/DCM/a.png")).is_err());
        assert!(guard.check(&out.join("test/DCM/a.png")).is_ok());
    }
}
