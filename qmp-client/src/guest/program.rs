//! What is to run in the guest.

use std::fmt;
use std::iter;
use std::os::fd::OwnedFd;

use qmp_proto::guest_commands::GuestExec;
use qmp_proto::{Prepared, Refusal, Request};

use crate::guest::base64;

/// A program to run in the guest, as [`std::process::Command`] is one to run here: there is no shell
/// in between unless it is the program.
///
/// ```
/// use qmp_client::guest::GuestProgram;
///
/// let program = GuestProgram::new("sort").arg("-r").input("a\nb\n");
/// assert_eq!(format!("{program:?}"), r#"GuestProgram("sort")"#);
/// ```
#[derive(Clone)]
#[must_use = "a program does nothing until it is executed"]
pub struct GuestProgram {
    path: String,
    arguments: Vec<String>,
    environment: Option<Vec<String>>,
    input: Option<Vec<u8>>,
    capture: bool,
}

impl GuestProgram {
    /// A program at a path, or by a name that is looked for in the `PATH` of the agent.
    pub fn new(path: impl Into<String>) -> Self {
        let (arguments, environment, input) = (Vec::new(), None, None);
        Self { path: path.into(), arguments, environment, input, capture: true }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds a variable to its environment, which begins empty then: the agent either passes on its
    /// own whole environment, or nothing of it.
    pub fn env(mut self, name: impl fmt::Display, value: impl fmt::Display) -> Self {
        self.environment.get_or_insert_default().push(format!("{name}={value}"));
        self
    }

    /// What it reads from its standard input, up to 47 MiB; nothing by default.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Lets its output go to nowhere. Then it has ended when it has; otherwise, only when all to whom
    /// it gave its output have closed it too: what it started in the background, say.
    pub fn discard_output(mut self) -> Self {
        self.capture = false;
        self
    }

    /// The command that starts it.
    ///
    /// # Errors
    ///
    /// Where the agent would not understand it: it is too large, for instance. [`Refusal::Nul`] where a
    /// text of it holds a NUL, as the guest would see that text end there.
    pub fn prepare(&self) -> Result<Prepared<OwnedFd>, Refusal> {
        let environment = self.environment.iter().flatten();
        let mut texts = iter::once(&self.path).chain(&self.arguments).chain(environment);
        if texts.any(|text| text.contains('\0')) {
            return Err(Refusal::Nul);
        }
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let environment: Option<Vec<&str>> =
            self.environment.as_ref().map(|all| all.iter().map(String::as_str).collect());
        let input = self.input.as_ref().map(base64::encode);
        let command = GuestExec {
            arg: &arguments,
            env: environment.as_deref(),
            input_data: input.as_deref(),
            capture_output: self.capture,
            ..GuestExec::new(&self.path)
        };
        Request::of(&command).prepare()
    }
}

/// The program alone: the rest may hold secrets.
impl fmt::Debug for GuestProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GuestProgram").field(&self.path).finish()
    }
}
