//! Reads queries as far as it takes to know which samples and labels they ask for. What it does not know it refuses, so that a
//! misspelled name is not taken for a function or a word of the language.

use std::collections::BTreeSet;
use std::ops::Range;

use super::reference::Reference;

const FUNCTIONS: &[&str] = &[
    "absent",
    "changes",
    "count",
    "histogram_quantile",
    "increase",
    "label_values",
    "max",
    "min",
    "rate",
    "sum",
    "time",
    "topk",
];
const OPERATORS: &[&str] = &["and", "or", "unless"];

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    /// What is between quotes.
    Text(String),
    Number,
    Sign(char),
}

/// A sample that is asked for.
struct Selected {
    name: String,
    /// Labels that it is chosen by, with their values.
    matchers: Vec<(String, String)>,
    /// Where its name stands.
    position: usize,
}

/// Labels of `by` or `on`, and the tokens whose samples must have them.
struct Grouping {
    labels: BTreeSet<String>,
    over: Range<usize>,
}

/// What a query asks for.
pub(crate) struct Query {
    selected: Vec<Selected>,
    groupings: Vec<Grouping>,
}

impl Query {
    /// Reads a query, or says what is wrong with it.
    pub(crate) fn of(text: &str) -> Result<Self, String> {
        let tokens = tokens(text)?;
        balanced(&tokens)?;
        let mut query = Self { selected: Vec::new(), groupings: Vec::new() };
        let variable = tokens.first() == Some(&Token::Word("label_values".to_owned()));
        let mut position = 0;
        while let Some(token) = tokens.get(position) {
            let next = tokens.get(position + 1);
            position = match token {
                Token::Word(word) if ["by", "on"].contains(&word.as_str()) => {
                    query.grouping(&tokens, position)?
                }
                // `sum by (pod) (...)` has its parentheses after the labels.
                Token::Word(word) if FUNCTIONS.contains(&word.as_str()) => {
                    let grouped = next == Some(&Token::Word("by".to_owned()));
                    if !grouped && next != Some(&Token::Sign('(')) {
                        return Err(format!("{word} has no arguments"));
                    }
                    position + 1
                }
                Token::Word(word) if OPERATORS.contains(&word.as_str()) => position + 1,
                // `label_values(samples, label)` of a dashboard's variable.
                Token::Word(label) if variable && tokens.get(position - 1) == Some(&Token::Sign(',')) => {
                    let over = 0..position;
                    query.groupings.push(Grouping { labels: BTreeSet::from([label.clone()]), over });
                    position + 1
                }
                Token::Word(name) => query.selector(&tokens, position, name)?,
                Token::Sign('[') => closing(&tokens, position, ']')? + 1,
                Token::Sign('{') => return Err("a selector without a name".to_owned()),
                Token::Sign(_) | Token::Text(_) | Token::Number => position + 1,
            };
        }
        if query.selected.is_empty() {
            return Err("asks for nothing".to_owned());
        }
        Ok(query)
    }

    /// Reads from `by` or `on` to the end of its labels.
    fn grouping(&mut self, tokens: &[Token], position: usize) -> Result<usize, String> {
        if tokens.get(position + 1) != Some(&Token::Sign('(')) {
            return Err("by and on need labels in parentheses".to_owned());
        }
        let end = closing(tokens, position + 1, ')')?;
        let labels = tokens[position + 2..end].iter().filter_map(Token::word).map(str::to_owned).collect();
        let over = if tokens[position] == Token::Word("by".to_owned()) {
            if tokens.get(end + 1) != Some(&Token::Sign('(')) {
                return Err("nothing follows the labels of by".to_owned());
            }
            end + 1..closing(tokens, end + 1, ')')?
        } else {
            0..tokens.len()
        };
        self.groupings.push(Grouping { labels, over });
        Ok(end + 1)
    }

    /// Reads a name and what may follow it in braces.
    fn selector(&mut self, tokens: &[Token], position: usize, name: &str) -> Result<usize, String> {
        let mut matchers = Vec::new();
        let mut end = position + 1;
        if tokens.get(end) == Some(&Token::Sign('{')) {
            let last = closing(tokens, end, '}')?;
            for matcher in tokens[end + 1..last].split(|token| *token == Token::Sign(',')) {
                match matcher {
                    [Token::Word(label), Token::Sign(_), .., Token::Text(value)] => {
                        matchers.push((label.clone(), value.clone()));
                    }
                    other => return Err(format!("{name}: {other:?} is no matcher")),
                }
            }
            end = last + 1;
        }
        self.selected.push(Selected { name: name.to_owned(), matchers, position });
        Ok(end)
    }

    /// What it asks for that no program shows, a line each.
    pub(crate) fn faults(&self, reference: &Reference) -> Vec<String> {
        let mut faults = Vec::new();
        for Selected { name, matchers, position } in &self.selected {
            let Some(labels) = reference.labels(name) else {
                faults.push(format!("no program shows {name}"));
                continue;
            };
            let groupings = self.groupings.iter().filter(|grouping| grouping.over.contains(position));
            let grouped = groupings.flat_map(|grouping| &grouping.labels);
            for label in matchers.iter().map(|(label, _)| label).chain(grouped) {
                if !labels.contains(label) {
                    faults.push(format!("{name} has no label {label}"));
                }
            }
        }
        faults
    }

    /// Labels that a result may have.
    pub(crate) fn result_labels(&self, reference: &Reference) -> BTreeSet<String> {
        let by: BTreeSet<String> =
            self.groupings.iter().flat_map(|grouping| grouping.labels.iter().cloned()).collect();
        let outside = |sample: &Selected| !self.groupings.iter().any(|it| it.over.contains(&sample.position));
        let joined = |sample: &Selected| by.contains("instance") && reference.labels(&sample.name).is_some();
        let bare = self.selected.iter().filter(|sample| outside(sample) || joined(sample));
        let all = bare.filter_map(|sample| reference.labels(&sample.name)).flatten().cloned();
        all.chain(by.iter().cloned()).collect()
    }

    /// Samples with the values of a label that they are chosen by, alternatives one by one.
    pub(crate) fn values(&self) -> Vec<(&str, &str, &str)> {
        let mut values = Vec::new();
        for sample in &self.selected {
            for (label, pattern) in sample.matchers.iter().filter(|(_, value)| !value.starts_with('$')) {
                let alternatives = pattern.split('|').filter(|value| !value.is_empty());
                values.extend(alternatives.map(|value| (sample.name.as_str(), label.as_str(), value)));
            }
        }
        values
    }
}

impl Token {
    fn word(&self) -> Option<&str> {
        if let Self::Word(word) = self { Some(word) } else { None }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let of_word = |character: char| character.is_ascii_alphanumeric() || "_:$.".contains(character);
        let end = if first == '"' {
            let length = rest[1..].find('"').ok_or("a text without an end")?;
            tokens.push(Token::Text(rest[1..=length].to_owned()));
            length + 2
        } else if of_word(first) {
            let end = rest.find(|character: char| !of_word(character)).unwrap_or(rest.len());
            let word = || Token::Word(rest[..end].to_owned());
            tokens.push(if first.is_ascii_digit() { Token::Number } else { word() });
            end
        } else {
            tokens.push(Token::Sign(first));
            first.len_utf8()
        };
        rest = rest[end..].trim_start();
    }
    Ok(tokens)
}

fn balanced(tokens: &[Token]) -> Result<(), String> {
    let mut open = Vec::new();
    for token in tokens {
        let Token::Sign(sign) = token else { continue };
        let opening = match sign {
            '(' | '{' | '[' => {
                open.push(*sign);
                continue;
            }
            ')' => '(',
            '}' => '{',
            ']' => '[',
            _ => continue,
        };
        if open.pop() != Some(opening) {
            return Err(format!("{sign} closes nothing"));
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("{open:?} are not closed")) }
}

/// Where what opens at `start` is closed.
fn closing(tokens: &[Token], start: usize, sign: char) -> Result<usize, String> {
    let mut depth = 0_usize;
    for (position, token) in tokens.iter().enumerate().skip(start) {
        if *token == tokens[start] {
            depth += 1;
        } else if *token == Token::Sign(sign) {
            depth -= 1;
            if depth == 0 {
                return Ok(position);
            }
        }
    }
    Err(format!("no {sign}"))
}

#[test]
fn a_query_tells_what_is_wrong_with_it() {
    let reference = Reference::of(
        "| metric | type | labels | meaning |\n| `held` | gauge | `function`, `revision` | Held |\n\
         | `wait_seconds` | histogram | `function` | Time |\n| `worker_refuses` | gauge | `worker` | Busy |\n",
    );
    for (query, wanted) in [
        ("sum by (function) (held{revision=~\"a|b\"}) > 0", vec![]),
        ("max by (pod) (worker_refuses) > 0 or sum by (revision) (held) == 0", vec![]),
        ("histogram_quantile(0.99, sum by (le) (rate(wait_seconds_bucket[5m]))) > 1", vec![]),
        ("held and on (job, instance) worker_refuses", vec![]),
        ("label_values(held{function=~\"$function\"}, revision)", vec![]),
        ("sum(heldd)", vec!["no program shows heldd"]),
        ("rate(wait_seconds[5m])", vec!["no program shows wait_seconds"]),
        ("sum by (code) (held)", vec!["held has no label code"]),
        ("sum by (le) (held)", vec!["held has no label le"]),
        ("held{code=\"5xx\"}", vec!["held has no label code"]),
        ("held and on (function) worker_refuses", vec!["worker_refuses has no label function"]),
        ("label_values(held, code)", vec!["held has no label code"]),
    ] {
        let faults = Query::of(query).map(|query| query.faults(&reference));
        assert_eq!(faults, Ok(wanted.into_iter().map(str::to_owned).collect()), "{query}");
    }
    for query in
        ["sum(held", "sum(held))", "summ(held)", "sum held", "held{=\"a\"}", "{a=\"b\"}", "1 + 1", ""]
    {
        let known = Query::of(query).is_ok_and(|query| query.faults(&reference).is_empty());
        assert!(!known, "{query}");
    }
}

#[test]
fn a_result_has_the_labels_that_were_asked_for() {
    let reference = Reference::of("| `held` | gauge | `function` | Held |\n");
    let labels = |query| Query::of(query).unwrap().result_labels(&reference);
    assert_eq!(labels("sum by (function) (held)"), BTreeSet::from(["function".to_owned()]));
    assert!(labels("held and on (job, instance) held").contains("pod"));
    assert!(!labels("sum by (pod) (held)").contains("function"));
}
