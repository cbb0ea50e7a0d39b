//! The server's own description of its commands: what `query-qmp-schema` returns.
//!
//! Types go by number there, since only what is on the wire counts.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

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
    arg_type: Option<String>,
    element_type: Option<String>,
    #[serde(default)]
    members: Vec<Map<String, Value>>,
    tag: Option<String>,
    #[serde(default)]
    variants: Vec<Variant>,
    #[serde(default)]
    values: Vec<String>,
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

impl Schema {
    pub(crate) fn new(json: &[u8]) -> Result<Self, serde_json::Error> {
        let entities: Vec<Entity> = serde_json::from_slice(json)?;
        let named = |entity: Entity| (entity.name.clone(), entity);
        Ok(Self { entities: entities.into_iter().map(named).collect() })
    }

    /// Commands of which nothing but their names is known.
    pub(crate) fn of_names(names: Vec<String>) -> Self {
        let command = |name: String| {
            let entity = Entity { meta_type: "command".to_owned(), ..Entity::default() };
            (name.clone(), Entity { name, ..entity })
        };
        Self { entities: names.into_iter().map(command).collect() }
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

    /// The members of an object, those that hang on what is given for another included.
    pub(crate) fn members<'g>(
        &self,
        kind: &str,
        given: &dyn Fn(&str) -> Option<&'g str>,
    ) -> Vec<Member<'_>> {
        let Some(object) = self.object(kind) else { return Vec::new() };
        let mut members: Vec<_> = object.members.iter().filter_map(member).collect();
        let case = object.tag.as_deref().and_then(given);
        if let Some(variant) = object.variants.iter().find(|it| Some(&*it.case) == case) {
            members.extend(self.members(&variant.r#type, given));
        }
        members
    }

    /// The values that a type has, if it is one of few.
    pub(crate) fn values(&self, kind: &str) -> Vec<&str> {
        let Some(entity) = self.entities.get(kind) else { return Vec::new() };
        let part = |name| entity.members.iter().filter_map(move |it| it.get(name)?.as_str());
        match &*entity.meta_type {
            "builtin" if kind == "bool" => vec!["false", "true"],
            // Before QEMU 6.2 there were `values` alone.
            "enum" if entity.members.is_empty() => entity.values.iter().map(|it| &**it).collect(),
            "enum" => part("name").collect(),
            "alternate" => part("type").flat_map(|kind| self.values(kind)).collect(),
            _ => Vec::new(),
        }
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
        let entity = self.entities.get(kind)?;
        match &*entity.meta_type {
            "object" => Some(entity),
            "alternate" => {
                let mut kinds = entity.members.iter().filter_map(|it| it.get("type")?.as_str());
                kinds.find_map(|kind| self.object(kind))
            }
            _ => None,
        }
    }
}

/// One that may be left out has a default, `null` mostly.
fn member(member: &Map<String, Value>) -> Option<Member<'_>> {
    let (name, kind) = (member.get("name")?.as_str()?, member.get("type")?.as_str()?);
    Some(Member { name, kind, optional: member.contains_key("default") })
}
