//! From text to documents: splitting, events, aliases, limits.

use std::{collections::HashMap, sync::Arc};

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{
    Content, Entry, Environment, MAX_ALIASED, MAX_DEPTH, MAX_NODES, Node, Scalar, environment,
    split::{split, syntax_mend},
};
use crate::problem::{MAX_PROBLEMS, Problem};

/// The documents of a text (empty ones left out) and everything that is wrong with its YAML.
pub(crate) fn parse(file: &Arc<str>, text: &str, environment: &Environment<'_>) -> (Vec<Node>, Vec<Problem>) {
    let mut all = Build {
        file,
        environment,
        first_line: 0,
        next_id: 0,
        aliased: 0,
        anchored: 0,
        documents: Vec::new(),
        problems: Vec::new(),
    };
    for (first_line, part) in split(text) {
        all.first_line = first_line;
        if let Err(stop) = all.part(part) {
            all.report(stop.0);
            if stop.1 {
                break;
            }
        }
    }
    (all.documents, all.problems)
}

/// A problem that ends this part, and whether it ends the whole file.
struct Stop(Problem, bool);

struct Build<'a> {
    file: &'a Arc<str>,
    environment: &'a Environment<'a>,
    first_line: u32,
    next_id: u32,
    aliased: u32,
    anchored: u32,
    documents: Vec<Node>,
    problems: Vec<Problem>,
}

/// A list or mapping that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<(String, u32, u32)>,
    /// The keys so far and their lines.
    seen: HashMap<String, u32>,
}

impl Build<'_> {
    fn part(&mut self, text: &str) -> Result<(), Stop> {
        let mut open: Vec<Open> = Vec::new();
        let mut anchors: HashMap<usize, Node> = HashMap::new();
        for next in Parser::new_from_str(text) {
            let (event, span) = next.map_err(|error| {
                let place = self.place(error.marker());
                // The parser has a limit of its own and meets it before ours, as it reads ahead.
                if error.info().contains("recursion limit") {
                    return self.too_deep(place, &open);
                }
                let mend = syntax_mend(text, &error.info());
                Stop(self.problem(place.0, place.1, &open, error.info(), mend), false)
            })?;
            let place = self.place(&span.start);
            match event {
                Event::DocumentStart(..) => {
                    open.clear();
                    anchors.clear();
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let text_tag = self.tag(tag.as_deref(), place, &open);
                    let plain = style == ScalarStyle::Plain && !text_tag;
                    let mut scalar = Scalar {
                        text: text.into_owned(),
                        written: None,
                        unresolved: false,
                        plain,
                    };
                    if !open.last().is_some_and(Open::wants_key) {
                        match environment::fill(&scalar.text, self.environment) {
                            Ok(None) => {}
                            Ok(Some(filled)) => scalar.written = Some(std::mem::replace(&mut scalar.text, filled)),
                            Err((what, mend)) => {
                                let problem = self.problem(place.0, place.1, &open, what, mend);
                                self.report(problem);
                                scalar.unresolved = true;
                            }
                        }
                    }
                    let node = self.node(place, Content::Scalar(scalar), &open)?;
                    self.remember(&mut anchors, anchor, &node, &open)?;
                    self.place_value(&mut open, node)?;
                }
                Event::SequenceStart(_, anchor, tag) => {
                    self.tag(tag.as_deref(), place, &open);
                    let node = self.node(place, Content::List(Vec::new()), &open)?;
                    self.open(&mut open, node, anchor)?;
                }
                Event::MappingStart(_, anchor, tag) => {
                    self.tag(tag.as_deref(), place, &open);
                    let node = self.node(place, Content::Map(Vec::new()), &open)?;
                    self.open(&mut open, node, anchor)?;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(Open { mut node, anchor, .. }) = open.pop() {
                        node.end = self.next_id;
                        self.remember(&mut anchors, anchor, &node, &open)?;
                        self.place_value(&mut open, node)?;
                    }
                }
                Event::Alias(anchor) => {
                    let Some(target) = anchors.get(&anchor) else {
                        let what = "the alias refers to a value that contains it".to_owned();
                        let mend = "an alias may only name a finished value; write the content out".to_owned();
                        return Err(Stop(self.problem(place.0, place.1, &open, what, mend), false));
                    };
                    let size = target.end - target.id;
                    self.aliased = self.aliased.saturating_add(size);
                    if self.aliased > MAX_ALIASED || self.next_id.saturating_add(size) > MAX_NODES {
                        let what = format!("aliases blow the file up to over {MAX_ALIASED} copied values");
                        let mend = "write the content out, or use fewer aliases".to_owned();
                        return Err(Stop(self.problem(place.0, place.1, &open, what, mend), true));
                    }
                    if open.len() + target.depth() > MAX_DEPTH {
                        return Err(self.too_deep(place, &open));
                    }
                    let mut copy = target.clone();
                    let offset = self.next_id - copy.id;
                    copy.renumber(offset);
                    self.next_id += size;
                    self.place_value(&mut open, copy)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Keeps a finished value for the aliases that will name it.
    fn remember(
        &mut self,
        anchors: &mut HashMap<usize, Node>,
        anchor: usize,
        node: &Node,
        open: &[Open],
    ) -> Result<(), Stop> {
        if anchor != 0 {
            self.anchored = self.anchored.saturating_add(node.end - node.id);
            if self.anchored > MAX_NODES {
                let what = "anchors inside anchors hold too many values".to_owned();
                let mend = "use fewer anchors";
                return Err(Stop(self.problem(node.line, node.column, open, what, mend), true));
            }
            anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    fn place(&self, marker: &Marker) -> (u32, u32) {
        (self.first_line + marker.line() as u32, marker.col() as u32 + 1)
    }

    fn problem(&self, line: u32, column: u32, open: &[Open], what: String, mend: impl Into<String>) -> Problem {
        let mut path = String::new();
        for level in open {
            match (&level.node.content, &level.key) {
                (Content::List(items), _) => path.push_str(&format!("[{}]", items.len())),
                (_, Some((key, ..))) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
                _ => {}
            }
        }
        Problem {
            file: self.file.clone(),
            line,
            column,
            path,
            what,
            mend: mend.into(),
        }
    }

    /// Reports and goes on.
    fn report(&mut self, problem: Problem) {
        if self.problems.len() <= MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    /// A node with the next number; `end` is set when it closes.
    fn node(&mut self, (line, column): (u32, u32), content: Content, open: &[Open]) -> Result<Node, Stop> {
        if self.next_id >= MAX_NODES {
            let what = format!("the file holds over {MAX_NODES} values");
            return Err(Stop(
                self.problem(line, column, open, what, "split it into several files"),
                true,
            ));
        }
        let id = self.next_id;
        self.next_id += 1;
        Ok(Node {
            id,
            end: id + 1,
            line,
            column,
            content,
        })
    }

    fn open(&mut self, open: &mut Vec<Open>, node: Node, anchor: usize) -> Result<(), Stop> {
        if open.len() >= MAX_DEPTH {
            return Err(self.too_deep((node.line, node.column), open));
        }
        open.push(Open {
            node,
            anchor,
            key: None,
            seen: HashMap::new(),
        });
        Ok(())
    }

    fn too_deep(&self, (line, column): (u32, u32), open: &[Open]) -> Stop {
        let what = format!("lists and mappings nest deeper than {MAX_DEPTH} levels");
        let mut problem = self.problem(line, column, open, what, "no kind needs that; write it flatter");
        problem.path.clear();
        Stop(problem, false)
    }

    /// Puts a finished value where it belongs: into the list or mapping that is open, or among the documents.
    fn place_value(&mut self, open: &mut [Open], node: Node) -> Result<(), Stop> {
        let Some(level) = open.last_mut() else {
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut level.node.content {
            Content::List(items) => items.push(node),
            Content::Map(entries) => match level.key.take() {
                None => {
                    let (line, column) = (node.line, node.column);
                    let Content::Scalar(scalar) = node.content else {
                        let what = "a list or mapping as a key".to_owned();
                        let problem = self.problem(line, column, open, what, "write a simple word as the key");
                        return Err(Stop(problem, false));
                    };
                    level.key = Some((scalar.text, line, column));
                }
                Some((key, line, column)) => {
                    let mut node = node;
                    if matches!(&node.content, Content::Scalar(scalar) if scalar.plain && matches!(&*scalar.text, "" | "~"))
                    {
                        // Nothing has no place of its own: it is where its key is.
                        (node.line, node.column) = (line, column);
                    }
                    let Some(first) = level.seen.get(&key) else {
                        level.seen.insert(key.clone(), line);
                        entries.push(Entry {
                            key,
                            line,
                            column,
                            value: node,
                        });
                        return Ok(());
                    };
                    let what = format!("`{}` stands here twice, first at line {first}", key.escape_debug());
                    let problem = self.problem(line, column, open, what, "keep one of the two");
                    self.report(problem);
                }
            },
            Content::Scalar(_) => {}
        }
        Ok(())
    }

    /// Whether the tag makes a scalar a text. Other tags are refused: they would change the meaning unseen.
    fn tag(&mut self, tag: Option<&Tag>, (line, column): (u32, u32), open: &[Open]) -> bool {
        let Some(tag) = tag else { return false };
        if tag.is_yaml_core_schema_tag("str") {
            return true;
        }
        if !["map", "seq", "int", "bool", "null"]
            .iter()
            .any(|known| tag.is_yaml_core_schema_tag(known))
        {
            let what = format!("the tag `{}` means nothing here", tag.original().escape_debug());
            let problem = self.problem(line, column, open, what, "remove it");
            self.report(problem);
        }
        false
    }
}

impl Open {
    fn wants_key(&self) -> bool {
        matches!(self.node.content, Content::Map(_)) && self.key.is_none()
    }
}
