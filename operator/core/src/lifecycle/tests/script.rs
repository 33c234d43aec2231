//! Scripts of what happens to a Function, with what its status says after each line. Revisions are called `a`, `b` and so on, by
//! the image that each is of. What must hold at every moment is checked after each look.

use std::collections::{BTreeMap, BTreeSet};

use catnap_crds::{Function, FunctionStatus, RevisionState};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use serde_json::{Value, json};

use crate::{
    Counts, Rates,
    condition::{READY, RECONCILING, STALLED, find},
    fixtures::*,
};

pub(super) struct Script {
    pub(super) world: World,
    pub(super) function: Function,
    pub(super) second: i64,
    names: BTreeMap<char, String>,
    proved: BTreeSet<String>,
    /// When the operator looks although nothing happens.
    next_look: Option<Timestamp>,
}

/// Runs the lines; each has an event and what is then said, in the words of [`Script::summary`].
pub(super) fn play(spec: Value, lines: &[(&str, &str)]) {
    let mut script = Script::new(spec);
    for (number, (event, expected)) in lines.iter().enumerate() {
        script.happens(event);
        assert_eq!(script.summary(), *expected, "line {number}: {event}: {:#?}", script.status().rollout);
    }
}

impl Script {
    /// The revision `a` serves with one replica.
    pub(super) fn new(spec: Value) -> Self {
        let mut script = Self {
            world: World::default(),
            function: function(spec),
            second: 0,
            names: BTreeMap::new(),
            proved: BTreeSet::new(),
            next_look: None,
        };
        script.look();
        script.names.insert('a', FIRST.to_owned());
        script.happens("ready a 1");
        script
    }

    pub(super) fn now(&self) -> Timestamp {
        seconds(self.second)
    }

    pub(super) fn status(&self) -> &FunctionStatus {
        self.function.status.as_ref().unwrap()
    }

    /// One event, and as many looks as change something: the operator is told of it. What follows `unseen` it is not told of; and
    /// while time passes (`pass 30`, and not `wait 30`) it looks only when it said that it would.
    pub(super) fn happens(&mut self, event: &str) {
        match event.split_once(' ') {
            Some(("unseen", event)) => return self.occurs(event),
            Some(("pass", seconds)) => return self.pass(seconds.parse().unwrap()),
            _ => self.occurs(event),
        }
        self.settle();
    }

    fn pass(&mut self, count: i64) {
        let end = self.second + count;
        while let Some(next) = self.next_look.filter(|next| *next <= seconds(end)) {
            self.second = next.as_second() - seconds(0).as_second();
            self.settle();
            assert!(self.next_look.is_none_or(|again| again > next), "it looks again and again");
        }
        self.second = end;
    }

    fn occurs(&mut self, event: &str) {
        let words: Vec<_> = event.split(' ').collect();
        let number = |index: usize| words.get(index).unwrap_or(&"1").parse::<i64>().unwrap();
        match words[0] {
            "image" => {
                let letter = words[1].chars().next().unwrap();
                let version = u32::from(letter) - u32::from('a') + 1;
                edit(&mut self.function, |function| function.spec.image = format!("example/hello:{version}"));
                self.look();
                let name = self.status().latest_created_revision.clone().unwrap();
                self.names.insert(letter, name);
            }
            "ready" => {
                let name = self.name(words[1]);
                self.world.pods(&name, &vec![ready_pod(); usize::try_from(number(2)).unwrap()]);
            }
            "unready" => {
                let name = self.name(words[1]);
                let starting = json!({"phase": "Running"});
                self.world.pods(&name, &vec![starting; usize::try_from(number(2)).unwrap()]);
            }
            "failing" => {
                let name = self.name(words[1]);
                self.world.pods(&name, &[unpullable_pod()]);
            }
            "wants" => {
                let name = self.name(words[1]);
                self.world.scale(&name, i32::try_from(number(2)).unwrap());
            }
            "counted" => {
                self.world.rates.counted_since.get_or_insert(seconds(0));
                self.world.rates.known_since.get_or_insert(seconds(0));
                let name = self.name(words[1]);
                let (ended, errors) = (number(2).unsigned_abs(), number(3).unsigned_abs());
                self.world.rates.counts.insert(name, Counts { ended, errors });
            }
            "known" => {
                let now = self.now();
                self.world.rates.counted_since.get_or_insert(now);
                self.world.rates.known_since = Some(now);
            }
            "unknown" => self.world.rates.known_since = None,
            // Another operator acts, and knows nothing yet.
            "restart" => self.world.rates = Rates::default(),
            "wait" => self.second += number(1),
            "traffic" => {
                let traffic = words[1..].iter().map(|word| self.target(word)).collect::<Vec<_>>();
                edit(&mut self.function, |function| {
                    function.spec.traffic = serde_json::from_value(json!(traffic)).unwrap();
                });
            }
            "retry" => {
                let annotations = self.function.metadata.annotations.get_or_insert_default();
                annotations.insert("catnap.dev/retry".into(), words[1].into());
            }
            "edit" => edit(&mut self.function, |function| function.spec.scale.max += 1),
            other => panic!("no such event: {other}"),
        }
    }

    /// `b=30`, `latest=70`, `b=0:next`.
    fn target(&self, word: &str) -> Value {
        let (word, tag) = word.split_once(':').map_or((word, None), |(word, tag)| (word, Some(tag)));
        let (goal, percent) = word.split_once('=').unwrap();
        let mut target = json!({"percent": percent.parse::<i32>().unwrap()});
        match goal {
            "latest" => target["latest"] = json!(true),
            other => target["revision"] = json!(self.name(other)),
        }
        if let Some(tag) = tag {
            target["tag"] = json!(tag);
        }
        target
    }

    pub(super) fn name(&self, letter: &str) -> String {
        letter.chars().next().and_then(|it| self.names.get(&it)).cloned().unwrap_or_else(|| letter.to_owned())
    }

    fn letter(&self, name: &str) -> String {
        let known = self.names.iter().find(|(_, known)| *known == name);
        known.map_or_else(|| name.to_owned(), |(letter, _)| letter.to_string())
    }

    fn settle(&mut self) {
        for _ in 0..6 {
            let before = self.function.status.clone();
            self.look();
            if self.function.status == before {
                return;
            }
        }
        panic!("the status of the same world changes for ever: {:#?}", self.function.status);
    }

    fn look(&mut self) {
        let needed = self.function.spec.scale.proof_replicas();
        let facts = self.world.validated(&self.function).facts;
        let ready = facts.into_iter().filter(|(_, facts)| facts.ready >= needed).map(|(name, _)| name);
        self.proved.extend(ready);
        let at = self.now();
        for name in self.names.values().filter(|_| self.world.rates.known_since.is_some()) {
            self.world.rates.counts.entry(name.clone()).or_default();
        }
        let (plan, report) = self.world.step(&mut self.function, at);
        self.next_look = report.next_look;

        // As kstatus reads it: current, in progress or failed, and always one of them.
        let is = |type_: &str| find(&report.status.conditions, type_).unwrap().status == "True";
        let states = [is(READY), is(RECONCILING), is(STALLED)];
        assert_eq!(states.iter().filter(|it| **it).count(), 1, "{:#?}", report.status.conditions);
        let of_this_edit = |it: &Condition| it.observed_generation == self.function.metadata.generation;
        assert!(report.status.conditions.iter().all(of_this_edit));

        let total: i32 = plan.traffic.iter().map(|share| share.percent).sum();
        assert!(total == 100 || plan.traffic.is_empty(), "{:?}", plan.traffic);
        for share in plan.traffic.iter().filter(|_| needed > 0) {
            assert!(self.proved.contains(&share.revision), "{} is unproven", share.revision);
        }
        for share in &plan.traffic {
            assert_eq!(plan.state(&share.revision), Some(RevisionState::Routed), "{}", share.revision);
        }
        let latest: BTreeSet<_> =
            plan.traffic.iter().filter(|share| share.latest).map(|share| &share.revision).collect();
        match &plan.rollout {
            Some(rollout) => {
                assert!(latest.iter().all(|name| [&rollout.from, &rollout.to].contains(name)));
                assert!(rollout.percent <= rollout.coming_percent || rollout.coming_percent == 0);
                assert_ne!(rollout.from, rollout.to);
            }
            None => assert!(latest.len() <= 1, "{latest:?}"),
        }
        if let Some(rollout) = plan.rollout.as_ref().filter(|it| it.percent > 0 && !it.unproven) {
            let pair = [rollout.from.clone(), rollout.to.clone()];
            assert_eq!(plan.compared.as_ref(), Some(&pair), "what moves is asked about");
            assert!(self.next_look.is_some_and(|next| next <= seconds(self.second + 60)), "it is forgotten");
        }
        let proving = plan.revisions.iter().filter(|revision| revision.state == RevisionState::Proving);
        // The current one, and those that are to take requests again: an empty spec.traffic asks for one too.
        let needed = self.function.spec.traffic.len().max(1);
        assert!(proving.count() <= 1 + needed);
    }

    /// `a75 b25 | b Proving | RollingOut`: shares (with tags), what is neither routed nor gone, and why it is (not) ready;
    /// `b->50/3` is a rollout that waits for 3 replicas to take 50, and `!` says that the Function is stalled.
    pub(super) fn summary(&self) -> String {
        let status = self.status();
        let mut words: Vec<_> = status
            .traffic
            .iter()
            .map(|share| {
                let tag = share.tag.as_ref().map_or_else(String::new, |tag| format!(":{tag}"));
                format!("{}{}{tag}", self.letter(&share.revision), share.percent)
            })
            .collect();
        if let Some(rollout) = status.rollout.as_ref().filter(|it| it.coming_percent > it.percent) {
            let to = self.letter(&rollout.to);
            words.push(format!("{to}->{}/{}", rollout.coming_percent, rollout.coming_replicas));
        } else if let Some(rollout) = &status.rollout {
            words.push(format!("({})", self.letter(&rollout.to)));
        }
        for revision in status.revisions.iter().filter(|it| it.state != RevisionState::Routed) {
            words.push(format!("{}:{:?}", self.letter(&revision.name), revision.state));
        }
        let ready = find(&status.conditions, READY).unwrap();
        let stalled = find(&status.conditions, STALLED).unwrap();
        words.push(format!("{}{}", ready.reason, if stalled.status == "True" { "!" } else { "" }));
        words.join(" ")
    }
}
