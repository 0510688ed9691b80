//! How a body is written: the number in the low five bits of a frame's flags.

use std::fmt;

/// A serialization by its number on the wire, known or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Serialization(u8);

/// What can be told from a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readable {
    /// Service, method, types and attachments; arguments can be decoded.
    Whole,
    /// Nothing: such a call can be routed by where it was received.
    Opaque,
}

impl Serialization {
    /// What Dubbo uses unless told otherwise.
    pub const HESSIAN2: Self = Self(2);
    /// Java's own, which runs foreign code when read carelessly.
    pub const JAVA: Self = Self(3);
    /// Java's own with shorter class descriptions.
    pub const COMPACTED_JAVA: Self = Self(4);
    /// fastjson 1: a line of JSON for each value.
    pub const FASTJSON: Self = Self(6);
    /// Java's own without Dubbo's framing.
    pub const NATIVE_JAVA: Self = Self(7);
    /// Kryo.
    pub const KRYO: Self = Self(8);
    /// FST.
    pub const FST: Self = Self(9);
    /// Hessian of its own authors.
    pub const NATIVE_HESSIAN: Self = Self(10);
    /// Avro.
    pub const AVRO: Self = Self(11);
    /// Protostuff.
    pub const PROTOSTUFF: Self = Self(12);
    /// Gson: JSON text.
    pub const GSON: Self = Self(16);
    /// Jackson: JSON text.
    pub const JACKSON: Self = Self(18);
    /// Protobuf as JSON.
    pub const PROTOBUF_JSON: Self = Self(21);
    /// Protobuf.
    pub const PROTOBUF: Self = Self(22);
    /// fastjson2: JSONB with a length before each value.
    pub const FASTJSON2: Self = Self(23);
    /// Kryo 5.
    pub const KRYO2: Self = Self(25);
    /// MessagePack.
    pub const MSGPACK: Self = Self(27);
    /// Fury.
    pub const FURY: Self = Self(28);

    /// The serialization of that number; only the low five bits count.
    pub const fn of(id: u8) -> Self {
        Self(id & 0x1f)
    }

    /// The number on the wire, 0 to 31.
    pub const fn id(self) -> u8 {
        self.0
    }

    /// Dubbo's name for it; `None` for a number that Dubbo does not use.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            2 => "hessian2",
            3 => "java",
            4 => "compactedjava",
            6 => "fastjson",
            7 => "nativejava",
            8 => "kryo",
            9 => "fst",
            10 => "native-hessian",
            11 => "avro",
            12 => "protostuff",
            16 => "gson",
            18 => "jackson",
            21 => "protobuf-json",
            22 => "protobuf",
            23 => "fastjson2",
            25 => "kryo2",
            27 => "msgpack",
            28 => "fury",
            31 => "custom-msgpack",
            _ => return None,
        })
    }

    /// The serialization of that name, as providers publish it in `serialization` and `prefer.serialization`.
    pub fn named(name: &str) -> Option<Self> {
        (0..32)
            .map(Self)
            .find(|serialization| serialization.name() == Some(name))
    }

    /// What can be told from a body that is written so.
    pub const fn readable(self) -> Readable {
        match self {
            Self::HESSIAN2 => Readable::Whole,
            _ => Readable::Opaque,
        }
    }

    /// Whether reading it creates objects of classes that the sender names, without any list of good ones (reference:
    /// CVE-2021-25641, CVE-2021-37579). Such calls are not to be let in from outside.
    pub const fn is_dangerous(self) -> bool {
        matches!(self.0, 3 | 4 | 7 | 8 | 9 | 10)
    }
}

impl fmt::Display for Serialization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "serialization {}", self.0),
        }
    }
}
