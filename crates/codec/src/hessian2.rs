//! Hessian2, the serialization that Dubbo uses unless told otherwise: a bare sequence of values, each begun by a tag.
//!
//! ```text
//!  00-1f string    20-2f binary    30-33 string   34-37 binary   38-3f long       4a date, ms      4b date, min
//!  A B   binary    C class         D double       F T bool       H map            I int            L long
//!  M typed map     N null          O object       Q reference    R S string       U V typed list   W X list
//!  Y long          Z end           5b-5f double   60-6f object   70-77 typed list 78-7f list
//!  80-d7 int       d8-ff long                     40 45 47 50: nothing
//!
//!  43 14 "java.math.BigDecimal" 91 05 "value"     60 04 "1.50"
//!  └─ C  class name             └─ 1 field        └─ object of class 0, one value
//! ```
//!
//! Three tables grow from the first byte of a body to its last: *classes* (by `C`), *types* (named in typed lists and maps) and
//! *references* (every list, map and object, counted at its start). So no value in a body can be read without those before it,
//! and it is why [`Skipper`] and [`Decoder`] stay in use from value to value.
//!
//! The facts are those of `apache/dubbo-hessian-lite` (`Hessian2Constants`, `Hessian2Input`, `Hessian2Output`), which differ from
//! the published text of Hessian 2.0 in the doubles of four bytes (thousandths) and in strings (each UTF-16 unit by itself).
//!
//! Two ways in: [`Skipper`] finds where values end, [`Decoder`] builds them in a [`Heap`]. One way out: [`Encoder`].
//! Next on the path: `walk`, which both ways in share.

mod cursor;
mod decode;
pub mod encode;
mod encoder;
mod error;
mod nested;
mod skip;
mod text;
mod value;
mod walk;

#[cfg(test)]
mod tests;

pub use decode::{Decoder, decode};
pub use encoder::{EncodeError, Encoder};
pub use error::{Error, Limits};
pub use skip::{Glimpse, Skipper, class_at};
pub use text::JavaString;
pub use value::{Class, ClassId, Heap, List, Map, Node, NodeId, Object, Value};
pub use walk::{Counts, Scalar};

pub(crate) use cursor::is_string;
