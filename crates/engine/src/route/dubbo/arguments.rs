//! The arguments of a call as texts: read when a rule asks for them, and not before.
//!
//! ```text
//!  string, char ─▶ itself      int, long ─▶ 42      boolean ─▶ true      double ─▶ 1.5      enum ─▶ its name
//!  null, dates, bytes, lists, maps, other objects ─▶ no text: no condition holds
//! ```
//!
//! Of a generic call these are the arguments of the method that will run, which stand in the list that is its third.

use std::{borrow::Cow, cell::OnceCell};

use landfall_codec::{
    dubbo2::Request,
    hessian2::{Glimpse, Heap, JavaString, Node, NodeId, Scalar, Value},
};

/// An argument that ends farther behind the beginning of the first one is not looked at, in bytes.
const HEAD: usize = 64 * 1024;

/// Where the arguments of a generic call are among its own: behind the method and the types.
const GENERIC: usize = 2;

/// The arguments of one call.
#[derive(Debug)]
pub(super) struct Arguments<'a> {
    request: &'a Request,
    decoded: OnceCell<(Vec<Value>, Heap)>,
}

impl<'a> Arguments<'a> {
    /// Nothing is read yet.
    pub(super) fn of(request: &'a Request) -> Self {
        Self {
            request,
            decoded: OnceCell::new(),
        }
    }

    /// How many there are. `None` if a generic call does not tell it.
    pub(super) fn count(&self) -> Option<usize> {
        if !self.request.is_generic() {
            return Some(self.request.argument_count());
        }
        self.listed().map(<[Value]>::len)
    }

    /// One of them, if there is such a one and it is simple.
    pub(super) fn text(&self, index: usize) -> Option<Cow<'_, str>> {
        if self.request.is_generic() {
            return self.text_of(self.listed()?.get(index)?);
        }
        if index >= self.request.arguments_within(HEAD) {
            return None;
        }
        match self.request.simple_argument(index)? {
            Glimpse::Scalar(scalar) => of_scalar(scalar),
            Glimpse::String(text) => text.as_str().map(|text| text.to_owned().into()),
            // Perhaps an enum. Its class, or itself, may stand in an argument before it.
            Glimpse::Other => self.text_of(self.decoded().0.get(index)?),
        }
    }

    fn decoded(&self) -> &(Vec<Value>, Heap) {
        self.decoded.get_or_init(|| {
            let near = self.request.arguments_within(HEAD);
            // What takes more memory than is allowed has no texts, and is the provider's affair.
            self.request.decode_first_arguments(near).unwrap_or_default()
        })
    }

    fn listed(&self) -> Option<&[Value]> {
        let (values, heap) = self.decoded();
        match values.get(GENERIC)? {
            Value::Null => Some(&[]),
            Value::Node(id) => match heap.get(*id)? {
                Node::List(list) => Some(&list.items),
                Node::Map(_) | Node::Object(_) => None,
            },
            _ => None,
        }
    }

    fn text_of<'v>(&'v self, value: &'v Value) -> Option<Cow<'v, str>> {
        match value {
            Value::String(text) => text.as_str().map(Cow::Borrowed),
            Value::Int(n) => of_scalar(Scalar::Int(*n)),
            Value::Long(n) => of_scalar(Scalar::Long(*n)),
            Value::Bool(b) => of_scalar(Scalar::Bool(*b)),
            Value::Double(n) => of_scalar(Scalar::Double(*n)),
            Value::Node(id) => self.enum_name(*id)?.as_str().map(Cow::Borrowed),
            Value::Null | Value::Date(_) | Value::Binary(_) => None,
        }
    }

    /// Java writes an enum as an object whose only field is its name.
    fn enum_name(&self, id: NodeId) -> Option<&JavaString> {
        let (_, heap) = self.decoded();
        let Node::Object(object) = heap.get(id)? else {
            return None;
        };
        match (heap.field(object, "name")?, &object.fields[..]) {
            (Value::String(name), [_]) => Some(name),
            _ => None,
        }
    }
}

fn of_scalar(scalar: Scalar) -> Option<Cow<'static, str>> {
    match scalar {
        Scalar::Int(n) => Some(n.to_string().into()),
        Scalar::Long(n) => Some(n.to_string().into()),
        Scalar::Bool(b) => Some(b.to_string().into()),
        // With a point, as Java writes it, so that `2.0` is no int.
        Scalar::Double(n) => Some(format!("{n:?}").into()),
        Scalar::Null | Scalar::Date(_) => None,
    }
}
