//! Which method a request means, and its arguments: overloads are told apart by count, by names, then by what fits best.
//!
//! ```text
//!  texts  id=7 ─────────┐          each overload of the name            the one that
//!  body   {"tags": []} ─┴▶ bind ─▶ parameters get sources ─▶ Fit ─▶     fits best ─▶ Call
//!                                  count, names                          else NoneFits, Ambiguous
//! ```
//!
//! A body is one of: an array with a value for each parameter that no text gives; an object with their names; or, if that is one
//! parameter, its value itself. An array of one value for one parameter is taken for the first, if it fits so.

use super::{
    definition::{Method, Service},
    fit::{Cost, Fit, Misfit, Options},
    json::Json,
    types::{Scalar, Type},
};
use crate::{
    dubbo2::{
        GENERIC_TYPES,
        descriptor::{self, JavaType},
    },
    hessian2::{Heap, Value},
};

/// What a request brings for a method's parameters.
#[derive(Debug, Clone, Copy, Default)]
pub struct Input<'a> {
    /// Path and query parameters, and what else comes as text: the name of a method's parameter, or its place from 0, and the text,
    /// decoded. A name that comes several times is a list.
    pub texts: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: Option<&'a Json>,
}

/// A call ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The method for the wire; `$invoke` in a generic call.
    pub method: String,
    /// The parameter types for the wire.
    pub types: String,
    /// As many arguments as types.
    pub arguments: Vec<Value>,
    /// What the arguments hold.
    pub heap: Heap,
    /// What the method returns, to read the result by.
    pub returns: Type,
    /// Whether the attachment `generic` must be `true`, and the result has been made into maps by the provider.
    pub generic: bool,
    /// The method that was chosen: `find(long)`.
    pub signature: String,
}

/// Why a request is no call. All but [`NoMethod`](Self::NoMethod) (404) are answered with 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// There is no such method.
    #[error("{service} has no method `{method}`; it has {known}")]
    NoMethod {
        /// The interface.
        service: String,
        /// The method that was asked for.
        method: String,
        /// Those that there are.
        known: String,
    },
    /// The one method of that name cannot be called so.
    #[error("{method} cannot be called so: {misfit}")]
    Unfit {
        /// The method.
        method: String,
        /// Why not.
        #[source]
        misfit: Misfit,
    },
    /// None of several methods can be called so.
    #[error("none of the methods `{method}` can be called so: {reasons}")]
    NoneFits {
        /// The name.
        method: String,
        /// Each with its reason.
        reasons: String,
    },
    /// Several methods can be called so, and none is nearer than the others.
    #[error("{candidates} could all be meant; name the parameter types, as in `{}`", candidates.split(" and ").next().unwrap_or_default())]
    Ambiguous {
        /// Those that fit.
        candidates: String,
    },
}

#[derive(Debug, Clone)]
enum Source<'a> {
    Json(&'a Json, String),
    Texts(Vec<&'a str>, String),
    Absent,
}

/// One way to give a request's parts to the parameters.
struct Way<'a> {
    sources: Vec<Source<'a>>,
    whole: bool,
}

struct Fitted {
    /// The body as a whole was the one argument.
    whole: bool,
    arguments: Vec<Value>,
    heap: Heap,
    costs: Vec<Cost>,
}

/// Reasons of one error that are told.
const MOST_REASONS: usize = 8;

impl Service {
    /// The call that a request means. The method is a name, or a name with parameter types to choose among overloads:
    /// `find(long,java.util.List)`.
    pub fn call(&self, method: &str, input: Input<'_>, options: Options) -> Result<Call, ArgumentError> {
        let (chosen, fitted) = self.choose(method, input, options, false)?;
        Ok(Call {
            method: chosen.name.clone(),
            types: descriptor::write(&java_types(chosen)),
            arguments: fitted.arguments,
            heap: fitted.heap,
            returns: chosen.returns.clone(),
            generic: false,
            signature: chosen.signature(),
        })
    }

    /// As [`call`](Self::call), but by `$invoke`: objects go as maps, and the provider makes its own classes of them. The way where
    /// classes differ from what the metadata says of them.
    pub fn call_generic(&self, method: &str, input: Input<'_>, options: Options) -> Result<Call, ArgumentError> {
        let (chosen, fitted) = self.choose(method, input, options, true)?;
        let types = java_types(chosen).iter().map(JavaType::to_string).collect();
        let mut call = invoke(&chosen.name, Some(types), fitted.arguments, fitted.heap);
        call.returns = chosen.returns.clone();
        call.signature = chosen.signature();
        Ok(call)
    }

    fn choose<'s>(
        &'s self,
        method: &str,
        input: Input<'_>,
        options: Options,
        generic: bool,
    ) -> Result<(&'s Method, Fitted), ArgumentError> {
        let bare = |text: &str| text.replace(' ', "");
        let name = method.split('(').next().unwrap_or_default().trim();
        let meant = |of: &&Method| of.name == name && (!method.contains('(') || bare(&of.signature()) == bare(method));
        let candidates: Vec<&Method> = self.methods.iter().filter(meant).collect();
        if candidates.is_empty() {
            let mut known: Vec<String> = self.methods.iter().take(21).map(Method::signature).collect();
            if known.len() > 20 {
                known.truncate(20);
                known.push("others".to_owned());
            }
            return Err(ArgumentError::NoMethod {
                service: self.interface.clone(),
                method: method.chars().take(200).collect(),
                known: if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                },
            });
        }
        let mut fits: Vec<(&Method, Fitted)> = Vec::new();
        let mut misfits: Vec<(&Method, Misfit)> = Vec::new();
        for candidate in candidates {
            match self.fit(candidate, input, options, generic) {
                Ok(fitted) => fits.push((candidate, fitted)),
                Err(misfit) => misfits.push((candidate, misfit)),
            }
        }
        if fits.is_empty() {
            return Err(match misfits.as_slice() {
                [(of, misfit)] => ArgumentError::Unfit {
                    method: of.signature(),
                    misfit: misfit.clone(),
                },
                several => ArgumentError::NoneFits {
                    method: name.to_owned(),
                    reasons: several
                        .iter()
                        .take(MOST_REASONS)
                        .map(|(of, misfit)| format!("{}: {misfit}", of.signature()))
                        .collect::<Vec<_>>()
                        .join(" | "),
                },
            });
        }
        // What takes a body apart goes before what takes it whole; else the one that is nowhere worse than any other, and somewhere
        // better.
        let better = |one: &Fitted, other: &Fitted| {
            if one.whole != other.whole {
                return other.whole;
            }
            one.costs.len() == other.costs.len()
                && one.costs != other.costs
                && one.costs.iter().zip(&other.costs).all(|(one, other)| one <= other)
        };
        let best = fits.iter().position(|(_, one)| {
            fits.iter()
                .all(|(_, other)| std::ptr::eq(one, other) || better(one, other))
        });
        match best {
            Some(at) => Ok(fits.swap_remove(at)),
            None => Err(ArgumentError::Ambiguous {
                candidates: fits
                    .iter()
                    .take(MOST_REASONS)
                    .map(|(of, _)| of.signature())
                    .collect::<Vec<_>>()
                    .join(" and "),
            }),
        }
    }

    fn fit(&self, method: &Method, input: Input<'_>, options: Options, generic: bool) -> Result<Fitted, Misfit> {
        let mut nearest: Option<Misfit> = None;
        for Way { sources, whole } in bind(method, input)? {
            let mut fit = Fit::new(&self.classes, options, generic);
            let done: Result<Vec<(Value, Cost)>, Misfit> = sources
                .iter()
                .zip(&method.parameters)
                .map(|(source, parameter)| match source {
                    Source::Json(json, at) => fit.argument(&parameter.of, json, at),
                    Source::Texts(texts, at) => fit.text(&parameter.of, texts, at),
                    Source::Absent => Ok((absent(&parameter.of), 0)),
                })
                .collect();
            match done {
                Ok(pairs) => {
                    let (arguments, costs) = pairs.into_iter().unzip();
                    return Ok(Fitted {
                        whole,
                        arguments,
                        heap: fit.heap,
                        costs,
                    });
                }
                // The reading that came furthest is the one that was meant.
                Err(misfit) => {
                    if nearest.as_ref().is_none_or(|other| misfit.at.len() >= other.at.len()) {
                        nearest = Some(misfit);
                    }
                }
            }
        }
        Err(nearest.unwrap_or_else(|| Misfit {
            at: "$".to_owned(),
            what: "the body gives no arguments".to_owned(),
            mend: how_to_send(method),
        }))
    }
}

fn java_types(method: &Method) -> Vec<JavaType> {
    method
        .parameters
        .iter()
        .map(|parameter| parameter.of.java_type())
        .collect()
}

/// The ways in which a request's parts can be given to a method's parameters, the likeliest first; at least one.
fn bind<'a>(method: &Method, input: Input<'a>) -> Result<Vec<Way<'a>>, Misfit> {
    let parameters = &method.parameters;
    let mut sources = vec![Source::Absent; parameters.len()];
    for (name, text) in input.texts {
        let place = parameters
            .iter()
            .position(|parameter| parameter.name.as_deref() == Some(name))
            .or_else(|| name.parse().ok().filter(|place| *place < parameters.len()));
        match place.and_then(|place| sources.get_mut(place)) {
            Some(Source::Texts(texts, _)) => texts.push(text),
            Some(source) => *source = Source::Texts(vec![text], format!("`{name}`")),
            None => {
                return Err(Misfit {
                    at: format!("`{name}`"),
                    what: "the method has no such parameter".to_owned(),
                    mend: how_to_send(method),
                });
            }
        }
    }
    let rest: Vec<usize> = (0..parameters.len())
        .filter(|place| matches!(sources.get(*place), Some(Source::Absent)))
        .collect();
    let with = |given: Vec<(usize, &'a Json, String)>| {
        let mut sources = sources.clone();
        for (place, json, at) in given {
            if let Some(source) = sources.get_mut(place) {
                *source = Source::Json(json, at);
            }
        }
        Way { sources, whole: false }
    };
    let optional = |place: &usize| parameters.get(*place).is_some_and(|parameter| parameter.optional);
    let name = |place: &usize| parameters.get(*place).and_then(|parameter| parameter.name.as_deref());

    let mut ways = Vec::new();
    match input.body {
        None if rest.iter().all(optional) => ways.push(with(Vec::new())),
        None => {}
        Some(Json::Array(items)) if items.len() == rest.len() => {
            let given = rest.iter().zip(items).enumerate();
            ways.push(with(
                given
                    .map(|(i, (place, item))| (*place, item, format!("$[{i}]")))
                    .collect(),
            ));
        }
        Some(Json::Object(members)) => {
            let known = |key: &str| rest.iter().any(|place| name(place) == Some(key));
            let all_known = members.iter().all(|(key, _)| key.as_str().is_some_and(known));
            let find = |place: &usize| {
                let wanted = name(place)?;
                members
                    .iter()
                    .find(|(key, _)| *key == wanted)
                    .map(|(_, json)| (*place, json, format!("$.{wanted}")))
            };
            if all_known && rest.iter().all(|place| optional(place) || find(place).is_some()) {
                ways.push(with(rest.iter().filter_map(find).collect()));
            }
        }
        Some(Json::Null) if rest.iter().all(optional) => ways.push(with(Vec::new())),
        Some(_) => {}
    }
    if let (Some(body), [place]) = (input.body, rest.as_slice()) {
        ways.push(Way {
            whole: true,
            ..with(vec![(*place, body, "$".to_owned())])
        });
    }
    if ways.is_empty() {
        return Err(match (input.body, rest.iter().find(|place| !optional(place))) {
            (None, Some(place)) => Misfit {
                at: name(place).map_or_else(|| format!("parameter {place}"), |name| format!("`{name}`")),
                what: "it is missing".to_owned(),
                mend: how_to_send(method),
            },
            (Some(Json::Array(items)), _) => Misfit {
                at: "$".to_owned(),
                what: format!("{} values are given for {} parameters", items.len(), rest.len()),
                mend: how_to_send(method),
            },
            _ => Misfit {
                at: "$".to_owned(),
                what: "the body gives not just the arguments".to_owned(),
                mend: how_to_send(method),
            },
        });
    }
    Ok(ways)
}

/// What a parameter is that is left out: null, or what Java's fields begin with where there is no null.
fn absent(of: &Type) -> Value {
    match of {
        Type::Primitive(Scalar::Boolean) => Value::Bool(false),
        Type::Primitive(Scalar::Byte | Scalar::Short | Scalar::Int) => Value::Int(0),
        Type::Primitive(Scalar::Long) => Value::Long(0),
        Type::Primitive(Scalar::Float | Scalar::Double) => Value::Double(0.0),
        Type::Primitive(Scalar::Char) => "\0".into(),
        _ => Value::Null,
    }
}

fn how_to_send(method: &Method) -> String {
    let parameters: Vec<String> = method
        .parameters
        .iter()
        .map(|parameter| match &parameter.name {
            Some(name) => format!("{} {name}", parameter.of),
            None => parameter.of.to_string(),
        })
        .collect();
    match parameters.as_slice() {
        [] => "the method takes no arguments: send no body".to_owned(),
        [one] => format!("send {one} as the body"),
        several if method.parameters.iter().all(|parameter| parameter.name.is_some()) => {
            format!("send an object with the members {}", several.join(", "))
        }
        several => format!("send an array of {}: {}", several.len(), several.join(", ")),
    }
}

/// A generic call of a method of which nothing is known: an array of arguments in JSON's own types. `types` are Java names
/// (`long`, `java.lang.String[]`), which must come from the configuration and never from the request, since the provider loads
/// them; without them the method's name must be the only one (Dubbo 3). Integers beyond a long, and fractions that are no exact
/// double, go as BigInteger and BigDecimal.
pub fn generic_call(method: &str, types: Option<&[&str]>, arguments: &[Json]) -> Result<Call, ArgumentError> {
    let unfit = |misfit| ArgumentError::Unfit {
        method: method.to_owned(),
        misfit,
    };
    if let Some(types) = types
        && types.len() != arguments.len()
    {
        return Err(unfit(Misfit {
            at: "$".to_owned(),
            what: format!("{} values are given for {} parameters", arguments.len(), types.len()),
            mend: "send an array with one value for each parameter".to_owned(),
        }));
    }
    let classes = super::definition::Classes::default();
    let mut fit = Fit::new(&classes, Options::default(), true);
    let mut values = Vec::with_capacity(arguments.len());
    for (i, argument) in arguments.iter().enumerate() {
        values.push(
            fit.argument(&Type::Object, argument, &format!("$[{i}]"))
                .map_err(unfit)?
                .0,
        );
    }
    let types = types.map(|types| types.iter().map(|name| (*name).to_owned()).collect());
    Ok(invoke(method, types, values, fit.heap))
}

fn invoke(method: &str, types: Option<Vec<String>>, arguments: Vec<Value>, mut heap: Heap) -> Call {
    let types = match types {
        Some(types) => heap.typed_list("[string", types.iter().map(|name| Value::from(name.as_str())).collect()),
        None => Value::Null,
    };
    let arguments = heap.typed_list("[object", arguments);
    Call {
        method: "$invoke".to_owned(),
        types: GENERIC_TYPES.to_owned(),
        arguments: vec![method.into(), types, arguments],
        heap,
        returns: Type::Object,
        generic: true,
        signature: method.to_owned(),
    }
}
