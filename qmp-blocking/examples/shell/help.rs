//! What `help` says.

use crate::complete::Completion;
use crate::parse;

/// For who types `help`, which no command is called.
const USAGE: &str = "\
COMMAND KEY=VALUE..., as in: device_add driver=virtio-net-pci id=n0
Tab completes all three; help COMMAND lists what it takes. Ctrl-C stops waiting for a reply.
Ctrl-D or exit leaves; quit ends the server.
The human monitor: human-monitor-command command-line='info status', or the option --hmp.
More is in shell --help.";

/// What is typed behind `help`, if that is what a line asks for.
pub(crate) fn asked(line: &str) -> Option<&str> {
    let line = line.trim();
    let rest = line.strip_prefix("help").or_else(|| line.strip_prefix('?'))?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim())
}

/// How to type commands; or what a command takes that is named, with what is given to it already.
pub(crate) fn help(completion: &Completion, line: &str) -> String {
    let words = parse::words(line);
    let Some((&command, pairs)) = words.split_first() else { return USAGE.to_owned() };
    let schema = &completion.schema;
    if !schema.commands().any(|name| name == command) {
        return format!("the server has no command {command}, or does not say which it has");
    }
    let Some(arguments) = completion.arguments(command, pairs, None) else {
        return format!("{command}: the server does not say what it takes");
    };
    let mut lines = vec![command.to_owned()];
    for member in arguments.members("") {
        let mut shown = format!("{}={}", member.name, schema.describe(member.kind));
        if schema.is_object(member.kind) {
            let objects = format!("{}.KEY=VALUE...", member.name);
            shown = if schema.is_scalar(member.kind) {
                format!("{shown} or {objects}")
            } else {
                objects
            };
        }
        lines.push(if member.optional { format!("    [{shown}]") } else { format!("    {shown}") });
    }
    if lines.len() == 1 {
        lines.push("    takes nothing more".to_owned());
    }
    if let Some(tag) = arguments.tag() {
        lines.push(format!("more by {tag}: help {line} {tag}=..."));
    }
    lines.join("\n")
}
