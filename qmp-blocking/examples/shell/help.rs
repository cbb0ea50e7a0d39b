//! The command `help`.

use crate::complete::Completion;
use crate::parse;

/// The answer to `help` without a name.
const USAGE: &str = "\
COMMAND KEY=VALUE..., as in: device_add driver=virtio-net-pci id=n0
Tab completes all three; help COMMAND lists its arguments. Ctrl-C stops waiting for a reply.
Ctrl-D or exit leaves; quit ends the server.
The human monitor: human-monitor-command command-line='info status', or the option --hmp.
More is in shell --help.";

/// The rest of a line that begins with `help`.
pub(crate) fn asked(line: &str) -> Option<&str> {
    let line = line.trim();
    let rest = line.strip_prefix("help").or_else(|| line.strip_prefix('?'))?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim())
}

/// The shell's usage; or the arguments of the named command, except for the given ones.
pub(crate) fn help(completion: &Completion, line: &str) -> String {
    let words = parse::words(line);
    let Some((&command, pairs)) = words.split_first() else { return USAGE.to_owned() };
    let schema = &completion.schema;
    if !schema.commands().any(|name| name == command) {
        return format!("no command {command} in the server's description");
    }
    let Some(arguments) = completion.arguments(command, pairs, None) else {
        return format!("{command}: the server does not describe its arguments");
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
        lines.push("    takes no more arguments".to_owned());
    }
    if let Some(tag) = arguments.tag() {
        lines.push(format!("more by {tag}: help {line} {tag}=..."));
    }
    lines.join("\n")
}
