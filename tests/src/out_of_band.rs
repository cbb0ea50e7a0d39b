//! The cheapest commands that QEMU executes out-of-band, and which of them the QEMU at hand has.

use qmp_blocking::commands::CommandInfo;
use qmp_blocking::{Command, Empty, Error, ErrorClass};
use serde::Serialize;
use serde_json::Value;

/// `yank` of nothing: succeeds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Yank {
    instances: [(); 0],
}

/// `yank` of nothing.
pub const YANK: Yank = Yank { instances: [] };

impl Command for Yank {
    const NAME: &'static str = "yank";
    type Return = Empty;
}

/// `query-yank`: the connections that can be cut, a monitor's among them.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QueryYank;

impl Command for QueryYank {
    const NAME: &'static str = "query-yank";
    type Return = Vec<Value>;
}

/// `migrate-pause` without a migration: an error, see [`is_unpausable`].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MigratePause;

impl Command for MigratePause {
    const NAME: &'static str = "migrate-pause";
    type Return = Empty;
}

/// Whether QEMU has `yank` and `query-yank`: QEMU 5.2 lacks them, and has `migrate-pause`, as every
/// later one.
pub fn has_yank(commands: &[CommandInfo]) -> bool {
    let has = |name| commands.iter().any(|command| command.name == name);
    assert!(has("migrate-pause"), "{commands:?}");
    assert_eq!(has("yank"), has("query-yank"));
    has("yank")
}

/// Whether `migrate-pause` was executed, and found nothing to pause.
pub fn is_unpausable(outcome: &Result<Empty, Error>) -> bool {
    let Err(Error::Command(error)) = outcome else { return false };
    error.class == ErrorClass::GenericError && error.desc.contains("only supported during postcopy")
}
