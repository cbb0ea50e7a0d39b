//! A top-level object read as a command: the rules of QMP, as QEMU enforces them.

use alloc::borrow::Cow;
use alloc::string::String;

use qmp_proto::__server::{Object, Span, Text, keep, string};
use qmp_proto::Raw;

/// What the client wants, or what is wrong with it; the answer bears the id in any case.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) id: Option<Raw>,
    pub(super) command: Result<Command, Fault>,
    /// Whether it is executed out-of-band, so that it waits for nothing, not even to be refused.
    pub(super) out_of_band: bool,
    /// How many bytes it came with.
    pub(super) size: usize,
}

/// A well-formed command.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: String,
    pub(super) arguments: Raw,
}

/// What is wrong with an object that should be a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NoVerb,
    TwoVerbs,
    VerbNotAString,
    ArgumentsNotAnObject,
    OobNotEnabled,
    UnknownMember,
}

impl Fault {
    /// For people. The member that is not known is not repeated: it may be a secret gone astray.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::NoVerb => "a command needs the member 'execute'",
            Self::TwoVerbs => "a command has either 'execute' or 'exec-oob', not both",
            Self::VerbNotAString => "a command's name must be a string",
            Self::ArgumentsNotAnObject => "'arguments' must be an object",
            Self::OobNotEnabled => "'exec-oob' is unexpected: 'oob' was not negotiated",
            Self::UnknownMember => {
                "a command has no other members than 'execute', 'arguments', 'id'"
            }
        }
    }
}

/// The members of a command, where they are there. The reader lets none through twice.
#[derive(Default)]
struct Members {
    execute: Option<Span>,
    exec_oob: Option<Span>,
    arguments: Option<Span>,
    id: Option<Span>,
    unknown: bool,
}

impl Envelope {
    /// QMP specification, section "Issuing Commands".
    pub(super) fn read(object: Object, oob: bool) -> Self {
        let mut members = Members::default();
        for member in &object.members {
            match string(&object.text[member.name.range()]).as_deref() {
                Some("execute") => members.execute = Some(member.value),
                Some("exec-oob") => members.exec_oob = Some(member.value),
                Some("arguments") => members.arguments = Some(member.value),
                Some("id") => members.id = Some(member.value),
                _ => members.unknown = true,
            }
        }
        let size = object.text.len();
        let text = Text::Owned(object.text);
        Self {
            size,
            id: members.id.map(|id| keep(&text, id)),
            out_of_band: members.exec_oob.is_some() && members.execute.is_none(),
            command: members.command(&text, oob),
        }
    }
}

impl Members {
    fn command(&self, text: &Text<'_>, oob: bool) -> Result<Command, Fault> {
        let verb = match (self.execute, self.exec_oob) {
            _ if self.unknown => Err(Fault::UnknownMember),
            (_, Some(_)) if !oob => Err(Fault::OobNotEnabled),
            (Some(_), Some(_)) => Err(Fault::TwoVerbs),
            (None, None) => Err(Fault::NoVerb),
            (Some(verb), None) | (None, Some(verb)) => Ok(verb),
        }?;
        let name = string(&text.bytes()[verb.range()]).map(Cow::into_owned);
        let arguments = match self.arguments {
            None => Raw::from_static("{}"),
            Some(span) if text.bytes()[span.range()].starts_with(b"{") => keep(text, span),
            Some(_) => return Err(Fault::ArgumentsNotAnObject),
        };
        Ok(Command { name: name.ok_or(Fault::VerbNotAString)?, arguments })
    }
}
