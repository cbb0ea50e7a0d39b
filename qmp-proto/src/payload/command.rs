//! Commands, with a type of their own or without.

use alloc::borrow::{Cow, ToOwned};
use alloc::format;
use core::convert::Infallible;
use core::fmt;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::codec::encode::Prepared;
use crate::payload::decode::DecodeError;
use crate::payload::error::{JsonFault, Refusal};
use crate::payload::raw::Raw;

/// A command with a type of its own: its fields are the arguments.
///
/// A struct and four lines of `impl` add one:
///
/// ```
/// use qmp_proto::{Command, Empty};
///
/// /// Ejects a device's medium.
/// #[derive(serde::Serialize)]
/// struct Eject<'a> {
///     device: &'a str,
///     force: bool,
/// }
///
/// impl Command for Eject<'_> {
///     const NAME: &'static str = "eject";
///     type Return = Empty;
/// }
/// ```
///
/// A unit struct is a command without arguments. The names of fields with a `-` in them are given
/// by serde's `rename`, and `skip_serializing_if = "Option::is_none"` leaves out an optional one.
pub trait Command: Serialize {
    /// The command's name on the wire.
    const NAME: &'static str;
    /// Whether a success may have no reply, as that of `guest-shutdown`: see
    /// [`NoReply`](crate::NoReply), which is `Return` then.
    const NO_REPLY: bool = false;
    /// What a success returns.
    type Return: DeserializeOwned;

    /// Decodes what a success returns.
    ///
    /// A command whose `Return` is [`Raw`] gives it on as it is, so that nothing is copied.
    fn decode(raw: Raw) -> Result<Self::Return, DecodeError> {
        raw.parse()
    }
}

/// The `return` of a command that has nothing to say: an object whose members do not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Empty {}

/// What identifies a command on its connection, and is its `id` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub(crate) u64);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A command to be executed: a name, arguments, and how it travels.
///
/// `A` is written as the arguments when the command is executed, straight into the outgoing
/// buffer. `F` is a descriptor that rides along.
///
/// ```
/// use qmp_proto::{Connection, Config, Request, commands::QueryStatus};
///
/// let mut connection = <Connection>::new(Config::default(), 0);
/// // A typed command, and two without a type.
/// connection.execute(Request::of(&QueryStatus), None)?;
/// connection.execute(Request::new("stop"), None)?;
/// let arguments = r#"{"device": "ide1-cd0"}"#;
/// connection.execute(Request::new("eject").raw_arguments(arguments)?, None)?;
/// # Ok::<(), qmp_proto::Refusal>(())
/// ```
#[derive(Clone)]
#[must_use = "a request does nothing until it is executed"]
pub struct Request<A = (), F = Infallible> {
    pub(crate) name: Cow<'static, str>,
    pub(crate) arguments: A,
    pub(crate) out_of_band: bool,
    pub(crate) descriptor: Option<F>,
    pub(crate) no_reply: bool,
}

impl<F> Request<(), F> {
    /// A command by its name, without arguments.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            arguments: (),
            out_of_band: false,
            descriptor: None,
            no_reply: false,
        }
    }

    /// A query by its name, with or without the prefix `query-`: `status` stands for `query-status`.
    pub fn query(name: &str) -> Self {
        Self::new(match name.starts_with("query-") {
            true => name.to_owned(),
            false => format!("query-{name}"),
        })
    }
}

impl<'a, C: Command, F> Request<&'a C, F> {
    /// A typed command.
    pub fn of(command: &'a C) -> Self {
        let mut request = Request::new(C::NAME).arguments(command);
        request.no_reply = C::NO_REPLY;
        request
    }
}

impl<A, F> Request<A, F> {
    /// Gives the arguments: anything that serializes to a JSON object, or to nothing (`()`, a unit
    /// struct, `None`).
    pub fn arguments<B: Serialize>(self, arguments: B) -> Request<B, F> {
        Request {
            name: self.name,
            arguments,
            out_of_band: self.out_of_band,
            descriptor: self.descriptor,
            no_reply: self.no_reply,
        }
    }

    /// Gives the arguments as JSON text, which is sent as it is.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidJson`] where the text is no JSON, or no object.
    pub fn raw_arguments(self, json: &str) -> Result<Request<&RawValue, F>, Refusal> {
        let arguments: &RawValue = serde_json::from_str(json).map_err(|error| {
            let line_start = json.split_inclusive('\n').take(error.line().saturating_sub(1));
            let offset = line_start.map(str::len).sum::<usize>() + error.column();
            Refusal::InvalidJson(JsonFault::Syntax { offset })
        })?;
        if !arguments.get().starts_with('{') {
            return Err(Refusal::InvalidJson(JsonFault::NotAnObject));
        }
        Ok(self.arguments(arguments))
    }

    /// Executes it out-of-band: it passes every command that is not, in the queue and at the
    /// server. Few commands allow it (`"allow-oob": true` in the schema).
    ///
    /// QMP specification, section "Out-of-band execution".
    pub fn out_of_band(mut self) -> Self {
        self.out_of_band = true;
        self
    }

    /// Sends a descriptor along, for `getfd` and `add-fd`. It is dropped, and with it closed, once
    /// it is sent.
    pub fn descriptor(mut self, descriptor: F) -> Self {
        self.descriptor = Some(descriptor);
        self
    }

    /// A success may have no reply, as that of `guest-shutdown` and `guest-suspend-*`. Once all of it
    /// was sent, the end of the stream is a success too, and so is a deadline of an adapter's. What it
    /// returns is a [`NoReply`](crate::NoReply), as JSON. An error is an error as ever.
    ///
    /// A monitor answers each command. So with [`Dialect::Qmp`](crate::Dialect::Qmp) one that ended by
    /// its deadline stays in the window, and is waited for by an orderly close, until its reply comes.
    pub fn no_reply(mut self) -> Self {
        self.no_reply = true;
        self
    }

    /// Encodes it now, for [`execute_prepared`](crate::Connection::execute_prepared): where a
    /// connection is behind a lock, the work is done before the lock is taken.
    ///
    /// # Errors
    ///
    /// As [`execute`](crate::Connection::execute), as far as the connection does not matter.
    pub fn prepare(self) -> Result<Prepared<F>, Refusal>
    where
        A: Serialize,
    {
        Prepared::new(self)
    }

    /// The command's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is the command that ends the server: nothing may follow it on the wire.
    pub(crate) fn is_quit(&self) -> bool {
        self.name == "quit"
    }
}

/// Without the arguments: they may hold secrets.
impl<A, F> fmt::Debug for Request<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("name", &self.name)
            .field("out_of_band", &self.out_of_band)
            .finish_non_exhaustive()
    }
}
