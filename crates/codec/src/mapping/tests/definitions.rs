//! Service definitions of both lines, and declarations by hand.

use super::{json, shown};
use crate::mapping::{DefinitionError, Input, Options, Service, Shape};

/// As Dubbo 3.3 writes it: every type by its name, canonical names, `enums`.
const DUBBO3: &str = r#"{"annotations":[],"canonicalName":"com.x.Shop","codeSource":"file:/app/","methods":[
 {"annotations":["@Deprecated"],"name":"find","parameterTypes":["long","java.util.List<com.x.Order.Tag>"],"parameters":[],"returnType":"com.x.Order"},
 {"annotations":[],"name":"find","parameterTypes":["java.lang.String"],"parameters":[],"returnType":"java.util.Map<java.lang.String,com.x.Order[]>"},
 {"annotations":[],"name":"ping","parameterTypes":[],"parameters":[],"returnType":"void"}],
 "parameters":{"side":"provider","release":"3.3.6"},
 "types":[{"enums":[],"items":[],"properties":{},"type":"long"},
 {"enums":[],"items":["com.x.Order.Tag"],"properties":{},"type":"java.util.List<com.x.Order.Tag>"},
 {"enums":[],"items":[],"properties":{"id":"long","color":"com.x.Color","tags":"java.util.List<com.x.Order.Tag>","parent":"com.x.Order","bytes":"byte[]","due":"java.time.LocalDate"},"type":"com.x.Order"},
 {"enums":[],"items":[],"properties":{"text":"java.lang.String"},"type":"com.x.Order.Tag"},
 {"enums":["RED","GREEN"],"items":[],"properties":{},"type":"com.x.Color"},
 {"enums":[],"items":[],"properties":{"month":"short","year":"int","day":"short"},"type":"java.time.LocalDate"}]}"#;

/// As Dubbo 2.7.6 writes it with Gson: definitions inside of each other, `enum`, blanks behind commas, a class in itself cut by `$ref`.
const DUBBO27: &str = r#"{"parameters":{"side":"provider","release":"2.7.6"},"canonicalName":"com.x.Shop","codeSource":"file:/app/","methods":[
 {"name":"find","parameterTypes":["long","java.util.List\u003ccom.x.Order$Tag\u003e"],"returnType":"com.x.Order"},
 {"name":"find","parameterTypes":["java.lang.String"],"returnType":"java.util.Map\u003cjava.lang.String, com.x.Order[]\u003e"},
 {"name":"ping","parameterTypes":[],"returnType":"void"}],
 "types":[{"type":"long","typeBuilderName":"org.apache.dubbo.metadata.definition.builder.DefaultTypeBuilder"},
 {"type":"com.x.Order","properties":{
   "id":{"type":"long","typeBuilderName":"org.apache.dubbo.metadata.definition.builder.DefaultTypeBuilder"},
   "color":{"type":"com.x.Color","enum":["RED","GREEN"],"typeBuilderName":"org.apache.dubbo.metadata.definition.builder.EnumTypeBuilder"},
   "tags":{"type":"java.util.List\u003ccom.x.Order$Tag\u003e","typeBuilderName":"org.apache.dubbo.metadata.definition.builder.CollectionTypeBuilder"},
   "parent":{"type":"com.x.Order","$ref":"com.x.Order"},
   "bytes":{"type":"byte[]","items":[{"type":"byte"}],"typeBuilderName":"org.apache.dubbo.metadata.definition.builder.ArrayTypeBuilder"},
   "due":{"type":"java.time.LocalDate","properties":{"year":{"type":"int"},"month":{"type":"short"},"day":{"type":"short"}}}},
  "typeBuilderName":"org.apache.dubbo.metadata.definition.builder.DefaultTypeBuilder"},
 {"type":"com.x.Order$Tag","properties":{"text":{"type":"java.lang.String"}}}]}"#;

#[test]
fn both_lines_of_dubbo_tell_the_same() {
    let (new, old) = (
        Service::parse(DUBBO3.as_bytes()).expect("it is a definition"),
        Service::parse(DUBBO27.as_bytes()).expect("it is a definition"),
    );
    assert_eq!(new, old);
    assert_eq!(new.interface, "com.x.Shop");
    let signatures: Vec<String> = new.methods.iter().map(crate::mapping::Method::signature).collect();
    assert_eq!(
        signatures,
        ["find(long,java.util.List)", "find(java.lang.String)", "ping()"]
    );
    let names: Vec<&str> = new.classes.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["com.x.Color", "com.x.Order", "com.x.Order$Tag"]);
    assert_eq!(
        new.methods[1].returns.to_string(),
        "java.util.Map<java.lang.String,com.x.Order[]>"
    );

    let body = json(r#"[7,[{"text":"new"}]]"#);
    let input = Input {
        body: Some(&body),
        ..Input::default()
    };
    let call = old.call("find", input, Options::default()).expect("it is a call");
    assert_eq!(call.types, "JLjava/util/List;");
    assert_eq!(shown(&call.arguments[1], &call.heap), "(Order$Tag{text: \"new\"})");
}

/// What `ServiceDefinitionBuilder` of 3.3.6 and 2.7.23 makes of one interface with classes inside, a type variable, a wildcard, a
/// generic class and a future.
#[test]
fn documents_made_by_dubbo_itself_tell_the_same_in_both_lines() {
    let new = Service::parse(include_bytes!("../testdata/dubbo3.json")).expect("it is a definition");
    let old = Service::parse(include_bytes!("../testdata/dubbo27.json")).expect("it is a definition");
    let methods = |service: &Service| {
        let told = |method: &crate::mapping::Method| {
            let of: Vec<String> = method
                .parameters
                .iter()
                .map(|parameter| parameter.of.to_string())
                .collect();
            format!("{} {}({})", method.returns, method.name, of.join(", "))
        };
        let mut told: Vec<String> = service.methods.iter().map(told).collect();
        told.sort();
        told
    };
    assert_eq!(methods(&new), methods(&old));
    assert_eq!(
        methods(&new),
        [
            "com.x.Shop$Order find(long, java.util.List<com.x.Shop$Tag>)",
            "com.x.Shop$Page page(java.util.Set<com.x.Shop$Color>, java.util.Optional<java.lang.Object>)",
            "java.lang.Object any(java.lang.Object, java.lang.Object, int[][])",
            "java.lang.Object later(java.util.Date)",
            "java.util.Map<java.lang.String,com.x.Shop$Order[]> find(java.lang.String)",
            "void ping()",
        ]
    );
    for (name, class) in new.classes.iter() {
        assert_eq!(old.classes.get(name), Some(class), "{name}");
    }
    let Some(Shape::Fields(fields)) = new.classes.get("com.x.Shop.Order").map(|class| &class.shape) else {
        panic!("an order has fields")
    };
    let mut fields: Vec<String> = fields.iter().map(|(name, of)| format!("{of} {name}")).collect();
    fields.sort();
    assert_eq!(
        fields,
        [
            "byte[] bytes",
            "com.x.Shop$Color color",
            "com.x.Shop$Order parent",
            "java.lang.Integer[] boxes",
            "java.time.LocalDate due",
            "java.util.List<com.x.Shop$Tag> tags",
            "java.util.Map<java.lang.String,java.util.List<java.math.BigDecimal>> prices",
            "long id",
        ]
    );
}

#[test]
fn what_is_no_definition_is_refused_with_its_place() {
    for (text, told) in [
        ("", "not JSON"),
        ("{}", "no name of an interface at `$.canonicalName`"),
        (
            r#"{"canonicalName":"a.B","methods":[{}]}"#,
            "no text at `$.methods[0].name`",
        ),
        (r#"{"canonicalName":"a.B","methods":3}"#, "no list at `$.methods`"),
        (
            r#"{"canonicalName":"a.B","methods":[{"name":"c","parameterTypes":["java.util.List<"]}]}"#,
            "`$.methods[0].parameterTypes[0]`: `java.util.List<` is no Java type",
        ),
        (
            r#"{"canonicalName":"a.B","types":[{"type":"a.C","properties":{"d":{"x":1}}}]}"#,
            "no name of a type at `$.types[0].properties.d`",
        ),
    ] {
        let error = Service::parse(text.as_bytes()).expect_err(text).to_string();
        assert!(error.contains(told), "{error} is not {told}");
    }
    let deep = format!("{}{}", "{\"properties\":{\"a\":".repeat(1000), "}}".repeat(1000));
    assert!(matches!(
        Service::parse(deep.as_bytes()),
        Err(DefinitionError::NotJson(_))
    ));
}

#[test]
fn methods_and_classes_are_declared_as_in_java() {
    let mut service = Service::new("com.x.Shop");
    for (text, signature, returns, names) in [
        ("find(long)", "find(long)", "java.lang.Object", vec![None]),
        ("void ping()", "ping()", "void", vec![]),
        (
            "java.util.Map<java.lang.String, java.lang.Long> count(java.util.Map<java.lang.String, com.x.Order> orders, int[] limits, long most?)",
            "count(java.util.Map,int[],long)",
            "java.util.Map<java.lang.String,java.lang.Long>",
            vec![Some("orders"), Some("limits"), Some("most")],
        ),
        (
            "int[] all(java.util.List<java.lang.Long>)",
            "all(java.util.List)",
            "int[]",
            vec![None],
        ),
    ] {
        service.declare(text).expect(text);
        let method = service.methods.last().expect("it is there");
        assert_eq!(method.signature(), signature);
        assert_eq!(method.returns.to_string(), returns);
        let found: Vec<Option<&str>> = method.parameters.iter().map(|of| of.name.as_deref()).collect();
        assert_eq!(found, names);
    }
    assert!(service.methods[2].parameters[2].optional);
    service.declare("com.x.Order find(long id)").expect("a method");
    assert_eq!(service.methods.len(), 4);
    assert_eq!(service.name_parameters("find", &["number"]), 1);
    for text in ["find", "find(", "(int)", "a b c(int)", "find(int,)", "find(List<)"] {
        assert!(service.declare(text).is_err(), "{text}");
    }

    service
        .classes
        .declare("com.x.Order", &[("id", "long")])
        .expect("a class");
    service.classes.declare_enum("com.x.Order.Kind", &["A"]);
    assert!(service.classes.declare("com.x.Bad", &[("id", "lo ng")]).is_err());
    let kind = service.classes.get("com.x.Order$Kind").expect("it is there");
    assert_eq!(kind.shape, Shape::Constants(vec!["A".into()]));
}
