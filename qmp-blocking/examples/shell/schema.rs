//! The server's own description of its commands: what `query-qmp-schema` returns.
//!
//! Types have numbers for names there, as only the wire counts. A server's description may be hostile, so its size
//! and its depth are limited.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

/// The limit on a description, in bytes. QEMU 11.1's has 250 KB.
const LONGEST: usize = 2 << 20;
/// The limit on variants in variants.
const DEEPEST: usize = 8;

/// Commands and types, by their names.
#[derive(Default)]
pub(crate) struct Schema {
    entities: HashMap<String, Entity>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entity {
    name: String,
    meta_type: String,
    json_type: Option<String>,
    arg_type: Option<String>,
    element_type: Option<String>,
    #[serde(default)]
    members: Vec<Part>,
    tag: Option<String>,
    #[serde(default)]
    variants: Vec<Variant>,
    #[serde(default)]
    values: Vec<String>,
}

/// A member of an object, a value of an enumeration, or a type of an alternate.
#[derive(Deserialize)]
struct Part {
    name: Option<String>,
    r#type: Option<String>,
    /// An optional member has a default, mostly `null`.
    #[serde(default, rename = "default", deserialize_with = "is_there")]
    optional: bool,
}

fn is_there<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

#[derive(Deserialize)]
struct Variant {
    case: String,
    r#type: String,
}

/// A member of an object.
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) optional: bool,
}

/// A part of the return of `guest-info`.
#[derive(Deserialize)]
struct Agent {
    supported_commands: Vec<Supported>,
}

#[derive(Deserialize)]
struct Supported {
    name: String,
}

impl Schema {
    /// `None` if the description is too long, or not a description.
    pub(crate) fn new(json: &[u8]) -> Option<Self> {
        let json = Some(json).filter(|json| json.len() <= LONGEST)?;
        let entities: Vec<Entity> = serde_json::from_slice(json).ok()?;
        let named = |entity: Entity| (entity.name.clone(), entity);
        Some(Self { entities: entities.into_iter().map(named).collect() })
    }

    /// The commands of `guest-info`, which has no arguments.
    pub(crate) fn of_agent(json: &[u8]) -> Option<Self> {
        let json = Some(json).filter(|json| json.len() <= LONGEST)?;
        let agent: Agent = serde_json::from_slice(json).ok()?;
        let command = |Supported { name }| {
            let entity = Entity { meta_type: "command".to_owned(), ..Entity::default() };
            (String::clone(&name), Entity { name, ..entity })
        };
        Some(Self { entities: agent.supported_commands.into_iter().map(command).collect() })
    }

    /// The names of all commands.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &str> {
        let all = self.entities.values();
        all.filter(|entity| entity.meta_type == "command").map(|entity| &*entity.name)
    }

    /// The type of a command's arguments.
    pub(crate) fn arguments_of(&self, command: &str) -> Option<&str> {
        self.entities.get(command)?.arg_type.as_deref()
    }

    /// The type of what stands in a transaction.
    pub(crate) fn action(&self) -> Option<&str> {
        let arguments = self.arguments_of("transaction")?;
        let actions = self.members(arguments, &|_| None);
        let actions = actions.into_iter().find(|member| member.name == "actions")?;
        self.entities.get(actions.kind)?.element_type.as_deref()
    }

    /// The members of an object, with those of the variant that is given.
    pub(crate) fn members<'g>(
        &self,
        kind: &str,
        given: &dyn Fn(&str) -> Option<&'g str>,
    ) -> Vec<Member<'_>> {
        let (mut members, mut next) = (Vec::new(), Some(kind));
        for _ in 0..DEEPEST {
            let Some(object) = next.and_then(|kind| self.object(kind)) else { break };
            members.extend(object.members.iter().filter_map(member));
            let case = object.tag.as_deref().and_then(given);
            let variant = object.variants.iter().find(|it| Some(&*it.case) == case);
            next = variant.map(|variant| &*variant.r#type);
        }
        members
    }

    /// The member that decides on an object's variant.
    pub(crate) fn tag(&self, kind: &str) -> Option<&str> {
        self.object(kind)?.tag.as_deref()
    }

    /// The values of an enumeration or a boolean.
    pub(crate) fn values(&self, kind: &str) -> Vec<&str> {
        let types = self.types(kind);
        let values = types.into_iter().flat_map(|entity| match &*entity.meta_type {
            "builtin" if entity.name == "bool" => vec!["false", "true"],
            // Before QEMU 6.2 there were only `values`.
            "enum" if entity.members.is_empty() => entity.values.iter().map(|it| &**it).collect(),
            "enum" => entity.members.iter().filter_map(|it| it.name.as_deref()).collect(),
            _ => Vec::new(),
        });
        values.collect()
    }

    /// The values of a type in words, without objects.
    pub(crate) fn describe(&self, kind: &str) -> String {
        let scalars = self.types(kind).into_iter().filter(|entity| entity.meta_type != "object");
        let shown = scalars.map(|entity| match &*entity.meta_type {
            "array" => "[...]".to_owned(),
            "enum" => self.values(&entity.name).join("|"),
            _ => entity.json_type.as_deref().unwrap_or("value").to_uppercase(),
        });
        shown.collect::<Vec<_>>().join("|")
    }

    /// Whether a value of this type may have members.
    pub(crate) fn is_object(&self, kind: &str) -> bool {
        self.object(kind).is_some()
    }

    /// Whether a value of this type may have none.
    pub(crate) fn is_scalar(&self, kind: &str) -> bool {
        self.entities.get(kind).is_none_or(|entity| entity.meta_type != "object")
    }

    fn object(&self, kind: &str) -> Option<&Entity> {
        self.types(kind).into_iter().find(|entity| entity.meta_type == "object")
    }

    /// A type, or the types of an alternate. An alternate does not have alternates.
    fn types(&self, kind: &str) -> Vec<&Entity> {
        let Some(entity) = self.entities.get(kind) else { return Vec::new() };
        match &*entity.meta_type {
            "alternate" => {
                let kinds = entity.members.iter().filter_map(|it| it.r#type.as_deref());
                kinds.filter_map(|kind| self.entities.get(kind)).collect()
            }
            _ => vec![entity],
        }
    }
}

fn member(part: &Part) -> Option<Member<'_>> {
    let (name, kind) = (part.name.as_deref()?, part.r#type.as_deref()?);
    Some(Member { name, kind, optional: part.optional })
}
