//! Objects, enums and maps, and values of which no type is known.

use std::fmt::Write as _;

use super::{Fit, MOST_SHAPES, Misfit, some_of};
use crate::{
    hessian2::{JavaString, Node, Value},
    mapping::{
        definition::{Classes, Shape},
        json::Json,
        known,
        types::{Known, Type},
    },
};

impl<'a> Fit<'a> {
    /// A map is an object, or an array of objects with `key` and `value` where its keys are no texts.
    pub(super) fn entries(
        &mut self,
        key: &Type,
        value: &Type,
        json: &Json,
        of: &Type,
    ) -> Result<Vec<(Value, Value)>, Misfit> {
        match json {
            Json::Object(members) => {
                let mut entries = Vec::with_capacity(members.len());
                for (name, member) in members {
                    self.refuse_class(name)?;
                    entries.push(self.below(name, |fit| Ok((fit.key(key, name)?, fit.value(value, member)?)))?);
                }
                Ok(entries)
            }
            Json::Array(items) => {
                let length = self.at.len();
                let mut entries = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    let _ = write!(self.at, "[{i}]");
                    let (Json::Object(members), Some(of_key), Some(of_value)) =
                        (item, item.get("key"), item.get("value"))
                    else {
                        return self.wants(item, of, "each entry as {\"key\": …, \"value\": …}");
                    };
                    if members.len() != 2 {
                        return self.wants(item, of, "each entry as {\"key\": …, \"value\": …} and nothing more");
                    }
                    if let Json::String(name) = of_key {
                        self.refuse_class(name)?;
                    }
                    let of_key = self.below(&"key".into(), |fit| fit.value(key, of_key))?;
                    entries.push((of_key, self.below(&"value".into(), |fit| fit.value(value, of_value))?));
                    self.at.truncate(length);
                }
                Ok(entries)
            }
            _ => self.wants(json, of, "an object, or an array of {\"key\": …, \"value\": …}"),
        }
    }

    /// In `$invoke` a provider loads the class that a map's `class` names, whatever the map is for.
    fn refuse_class(&self, name: &JavaString) -> Result<(), Misfit> {
        if self.generic && *name == "class" {
            return Err(self.misfit(
                "a map in a generic call has a key `class`",
                "leave it out: the provider would load that class",
            ));
        }
        Ok(())
    }

    fn key(&mut self, of: &Type, name: &JavaString) -> Result<Value, Misfit> {
        match of {
            Type::Object | Type::Parameter(_) => Ok(Value::String(name.clone())),
            _ => match name.as_str() {
                Some(text) if !matches!(of, Type::Known(Known::String)) => {
                    let (at, cost) = (self.at.clone(), self.cost);
                    let (value, _) = self.text(of, &[text], &at)?;
                    self.cost = cost;
                    Ok(value)
                }
                _ => self.value(of, &Json::String(name.clone())),
            },
        }
    }

    pub(super) fn class(&mut self, name: &str, arguments: &[Type], json: &Json, of: &Type) -> Result<Value, Misfit> {
        let classes = self.classes;
        let shape = classes.get(name).map_or(&Shape::Unknown, |class| &class.shape);
        if let Shape::Constants(constants) = shape {
            let constant = match json {
                Json::String(text) => constants.iter().find(|constant| *text == ***constant),
                _ => None,
            };
            return match constant {
                Some(constant) => {
                    self.costs(1);
                    let constant = Value::from(&**constant);
                    Ok(if self.generic {
                        constant
                    } else {
                        self.heap.object(name, vec![("name", constant)])
                    })
                }
                None => self.wants(
                    json,
                    of,
                    &format!("one of {}", some_of(constants.iter().map(|name| &**name))),
                ),
            };
        }
        let Json::Object(members) = json else {
            return self.wants(json, of, "an object");
        };
        // A class's arguments count for itself alone, not for one that `class` names in its stead.
        match self.named_class(members)? {
            Some(other) if other != name => self.object(other, &[], members, true),
            named => self.object(name, arguments, members, named.is_some()),
        }
    }

    /// The class that the member `class` names, if it is one of the service's.
    fn named_class(&self, members: &[(JavaString, Json)]) -> Result<Option<&'a str>, Misfit> {
        let Some((_, class)) = members.iter().find(|(name, _)| *name == "class") else {
            return Ok(None);
        };
        let known = class.as_str().and_then(|name| {
            let classes: &'a Classes = self.classes;
            classes.named(name)
        });
        known.map(Some).ok_or_else(|| {
            self.misfit(
                "the member `class` names no class of this service",
                "leave it out, or name a class that the service's definition has",
            )
        })
    }

    fn object(
        &mut self,
        name: &str,
        arguments: &[Type],
        members: &[(JavaString, Json)],
        named: bool,
    ) -> Result<Value, Misfit> {
        let classes = self.classes;
        let known: &[_] = match classes.get(name).map(|class| &class.shape) {
            Some(Shape::Fields(fields)) => fields,
            _ => &[],
        };
        // In the order of the class, so that objects with the same members share a definition.
        let mut found = Vec::with_capacity(members.len());
        for (member, json) in members {
            if *member == "class" {
                continue;
            }
            match known.iter().position(|(field, _)| *member == **field) {
                Some(place) => found.push((place, member, json)),
                None if known.is_empty() => found.push((usize::MAX, member, json)),
                None if self.options.ignore_unknown_members => {}
                None => {
                    let names = some_of(known.iter().map(|(field, _)| &**field));
                    return self.below(member, |fit| {
                        Err(fit.misfit(format!("{name} has no such member"), format!("its members are {names}")))
                    });
                }
            }
        }
        found.sort_by_key(|(place, ..)| *place);
        self.costs(if known.is_empty() { 5 } else { 0 });
        let mut values = Vec::with_capacity(found.len());
        for (place, member, json) in found {
            let of = known.get(place).map_or(Type::Object, |(_, of)| of.with(arguments));
            let cost = self.cost;
            values.push((member, self.below(member, |fit| fit.value(&of, json))?));
            if known.is_empty() {
                self.cost = cost;
            }
        }
        if self.generic {
            // The provider is told the class where its own declaration is not enough; it is one of the service's.
            let class = named.then(|| (Value::from("class"), Value::from(name)));
            let entries = values
                .into_iter()
                .map(|(member, value)| (Value::String(member.clone()), value));
            let entries = class.into_iter().chain(entries).collect();
            return Ok(self.map(None, entries));
        }
        let (fields, values) = values
            .into_iter()
            .map(|(member, value)| (member.clone(), value))
            .unzip();
        let class = crate::hessian2::Class {
            name: name.into(),
            fields,
        };
        let defined = self.heap.define(class);
        self.shapes = self.shapes.max(defined.number() + 1);
        if self.shapes > MOST_SHAPES {
            return Err(self.misfit(
                format!("there are more than {MOST_SHAPES} different sets of members"),
                "give the objects the same members, null where there is nothing",
            ));
        }
        Ok(Value::Node(self.heap.add(Node::Object(crate::hessian2::Object {
            class: defined,
            fields: values,
        }))))
    }

    /// A value of which no type is known.
    pub(super) fn anything(&mut self, json: &Json) -> Result<Value, Misfit> {
        Ok(match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(text) => known::any_number(text, &mut self.heap),
            Json::String(text) => Value::String(text.clone()),
            Json::Array(items) => {
                let items = self.items(&Type::Object, items)?;
                self.list(None, items)
            }
            Json::Object(members) => {
                if let Some(class) = self.named_class(members)? {
                    return self.object(class, &[], members, true);
                }
                let mut entries = Vec::with_capacity(members.len());
                for (name, member) in members {
                    let value = self.below(name, |fit| fit.anything(member))?;
                    entries.push((Value::String(name.clone()), value));
                }
                self.map(None, entries)
            }
        })
    }
}
