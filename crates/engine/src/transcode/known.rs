//! What is known of a service: its metadata, or what is declared in its place, and what is declared besides.

use std::sync::Arc;

use landfall_codec::mapping::Service;
use landfall_model::rules::{DeclaredShape, DeclaredTypes, ParameterSource, TranscodedMethod, Transcoding};

/// A service's types as each rule sees them.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) service: Arc<Service>,
    /// One for each of the transcoding's methods: with the names that it gives to parameters.
    rules: Box<[Arc<Service>]>,
}

impl Known {
    /// Nothing, if no method is known at all.
    ///
    /// # Errors
    /// What cannot be read, in words.
    pub(super) fn of(source: &Transcoding, interface: &str, definition: Option<&str>) -> Result<Option<Self>, String> {
        let declared = &source.types;
        let definition = declared.definition.as_deref().or(definition);
        if definition.is_none() && declared.methods.is_empty() {
            return Ok(None);
        }
        let service = service(declared, interface, definition)?;
        let service = Arc::new(service);
        let rules = source.methods.iter().map(|rule| seen_by(&service, rule)).collect();
        Ok(Some(Self { service, rules }))
    }

    /// The service for the method at that place of the transcoding; without a place for any.
    pub(super) fn service(&self, rule: Option<usize>) -> &Arc<Service> {
        rule.and_then(|place| self.rules.get(place)).unwrap_or(&self.service)
    }
}

/// What is declared of a service, over its definition if there is one.
///
/// # Errors
/// What cannot be read, in words.
pub(super) fn service(declared: &DeclaredTypes, interface: &str, definition: Option<&str>) -> Result<Service, String> {
    let mut service = match definition {
        Some(text) => Service::parse(text.as_bytes()).map_err(|error| error.to_string())?,
        None => Service::new(interface),
    };
    for class in &declared.classes {
        match &class.shape {
            DeclaredShape::Fields(fields) => {
                let fields: Vec<(&str, &str)> = fields.iter().map(|(name, of)| (&**name, &**of)).collect();
                let done = service.classes.declare(&class.name, &fields);
                done.map_err(|error| format!("class `{}`: {error}", class.name))?;
            }
            DeclaredShape::Constants(constants) => {
                let constants: Vec<&str> = constants.iter().map(|name| &**name).collect();
                service.classes.declare_enum(&class.name, &constants);
            }
        }
    }
    for method in &declared.methods {
        service.declare(method).map_err(|error| error.to_string())?;
    }
    Ok(service)
}

/// A rule that names parameters knows nothing but their method.
fn seen_by(service: &Arc<Service>, rule: &TranscodedMethod) -> Arc<Service> {
    let Some(parameters) = &rule.parameters else {
        return service.clone();
    };
    let name = rule.method.split('(').next().unwrap_or_default();
    let mut seen = Service {
        interface: service.interface.clone(),
        methods: service.methods.clone(),
        classes: service.classes.clone(),
    };
    seen.methods
        .retain(|method| method.name == name && method.parameters.len() == parameters.len());
    let names: Vec<String> = parameters
        .iter()
        .map(|parameter| match (&parameter.from, parameter.optional) {
            (ParameterSource::Body, true) => format!("{}?", parameter.name),
            _ => parameter.name.to_string(),
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    seen.name_parameters(name, &names);
    Arc::new(seen)
}
