//! An API server in memory behind a real [`kube::Client`].

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{Method, Request, Response};

use http_body_util::{BodyExt, Either, Full};
use kube::{
    Client,
    client::Body,
    core::{NamespaceResourceScope, Resource},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    object::{failure, merge, metadata},
    route::Route,
    selection::{Selection, parameter},
    watch::{Changes, Watches},
};

/// The server; clones are the same one.
#[derive(Clone, Default)]
pub struct FakeApi(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    collections: BTreeMap<String, BTreeMap<String, Value>>,
    writes: u64,
    calls: Vec<Call>,
    scripted: Vec<Scripted>,
    /// Those that are not used up; the last that fits is given.
    fixed: Vec<Scripted>,
    webhooks: Vec<(String, Webhook)>,
    watches: Watches,
    /// What was removed, with its collection: a watch that begins later must hear of it.
    removed: Vec<(u64, String, Value)>,
    /// Whether the next page of a list, after its first, is of a state that is forgotten.
    page_expires: bool,
    /// By `<namespace>/<pod>/<container>`.
    logs: BTreeMap<String, String>,
}

/// What changes an object before it is stored.
type Webhook = Box<dyn Fn(&mut Value) + Send>;

/// The body of an answer: whole, or a watch's.
type Answer = Either<Full<Bytes>, Changes>;

/// One request that was made.
#[derive(Clone, PartialEq)]
pub struct Call {
    /// The method, `APPLY` for a server-side apply.
    pub verb: String,
    /// The path.
    pub path: String,
    /// The query.
    pub query: String,
    /// The body, null when there was none.
    pub body: Value,
}

struct Scripted {
    verb: String,
    path: String,
    code: u16,
    answer: Value,
}

/// A client of a server that takes every request and answers none.
pub fn silent_client() -> Client {
    let service = tower::service_fn(|_: Request<Body>| pending::<Result<Response<Answer>, Infallible>>());
    Client::new(service, "default")
}

impl fmt::Debug for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl fmt::Display for Call {
    /// `POST deployments/hello`: the plural and what it is about, enough to compare with a table.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(route) = Route::parse(&self.path) else {
            return write!(formatter, "{} {}", self.verb, self.path);
        };
        let name = route.name.as_deref().or_else(|| metadata(&self.body, "name")).unwrap_or_default();
        write!(formatter, "{} {}/{name}", self.verb, route.plural)?;
        route.subresource.map_or(Ok(()), |subresource| write!(formatter, "/{subresource}"))
    }
}

impl FakeApi {
    /// A client of this server.
    pub fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// Stores an object as if somebody had created it: with a UID and a resourceVersion when it has none.
    pub fn insert<K>(&self, object: &K)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + serde::Serialize,
    {
        let object = serde_json::to_value(object).unwrap_or_default();
        let namespace = metadata(&object, "namespace").map(str::to_owned);
        self.insert_at(&K::url_path(&(), namespace.as_deref()), object);
    }

    /// The same for any kind, by the path of its collection.
    pub fn insert_at(&self, collection: &str, mut object: Value) {
        let mut state = self.state();
        state.stamp(&mut object, true);
        let name = metadata(&object, "name").unwrap_or_default().to_owned();
        state.put(collection, &name, "ADDED", object);
    }

    /// What a container has written.
    pub fn log(&self, namespace: &str, pod: &str, container: &str, text: &str) {
        self.state().logs.insert(format!("{namespace}/{pod}/{container}"), text.to_owned());
    }

    /// Every object of a kind in a namespace, by name.
    pub fn list<K>(&self, namespace: &str) -> Vec<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned,
    {
        let state = self.state();
        let objects = state.collections.get(&K::url_path(&(), Some(namespace)));
        objects
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter_map(|it| serde_json::from_value(it.clone()).ok())
            .collect()
    }

    /// One object.
    pub fn get<K>(&self, namespace: &str, name: &str) -> Option<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned,
    {
        let state = self.state();
        let object = state.collections.get(&K::url_path(&(), Some(namespace)))?.get(name)?;
        serde_json::from_value(object.clone()).ok()
    }

    /// Changes an object as somebody else would: its resourceVersion changes too. Whether it was there.
    pub fn edit<K>(&self, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) -> bool
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        let mut state = self.state();
        let collection = K::url_path(&(), Some(namespace));
        let Some(mut object) = state.collections.get(&collection).and_then(|it| it.get(name)).cloned() else {
            return false;
        };
        let before = object.clone();
        change(&mut object);
        state.store(&collection, name, &before, object);
        true
    }

    /// Removes an object. Whether it was there.
    pub fn remove<K>(&self, namespace: &str, name: &str) -> bool
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        self.state().remove(&K::url_path(&(), Some(namespace)), name).is_some()
    }

    /// Answers the next call of this verb whose path ends with `path` with a failure, instead of doing it.
    pub fn fail_next(&self, verb: &str, path: &str, code: u16, reason: &str, message: &str) {
        let answer = failure(code, reason, message);
        self.state().scripted.push(Scripted { verb: verb.to_owned(), path: path.to_owned(), code, answer });
    }

    /// Answers the next call for another page of a list as if its token had become too old.
    pub fn expire_next_page(&self) {
        self.state().page_expires = true;
    }

    /// Answers every call of this verb whose path ends with `path` with this, instead of doing it: for what is no object.
    pub fn answer_always(&self, verb: &str, path: &str, answer: Value) {
        let (verb, path) = (verb.to_owned(), path.to_owned());
        self.state().fixed.push(Scripted { verb, path, code: 200, answer });
    }

    /// Changes whatever is written to objects of this plural by a call, as a mutating webhook does.
    pub fn mutate(&self, plural: &str, change: impl Fn(&mut Value) + Send + 'static) {
        self.state().webhooks.push((plural.to_owned(), Box::new(change)));
    }

    /// The calls since the last time this was asked.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    /// Of [`take_calls`](Self::take_calls) those that write, in words, without Events.
    pub fn take_writes(&self) -> Vec<String> {
        let calls = self.take_calls().into_iter().filter(|call| call.verb != "GET");
        calls.map(|call| call.to_string()).filter(|call| !call.contains(" events/")).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Body>) -> Response<Answer> {
        let (head, body) = request.into_parts();
        let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let apply = head
            .headers
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|it| it == "application/apply-patch+yaml");
        let call = Call {
            verb: if apply { "APPLY".to_owned() } else { head.method.to_string() },
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        };
        let mut state = self.state();
        state.calls.push(call.clone());
        let fits = |it: &Scripted| it.verb == call.verb && call.path.ends_with(&it.path);
        let script = state.scripted.iter().position(fits);
        let fixed = state.fixed.iter().rfind(|it| fits(it)).map(|it| (it.code, it.answer.clone()));
        let (code, answer) = match script {
            Some(index) => {
                let Scripted { code, answer, .. } = state.scripted.remove(index);
                (code, answer)
            }
            None => match (fixed, state.stream(&call)) {
                (Some(answer), _) => answer,
                (None, Some(body)) => return Response::new(body),
                (None, None) => state.act(&call, &head.method),
            },
        };
        let mut response = Response::new(whole(answer.to_string()));
        *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
        response
    }
}

impl State {
    /// The answer to a watch, or a container's log.
    fn stream(&mut self, call: &Call) -> Option<Answer> {
        let route = Route::parse(&call.path).filter(|_| call.verb == "GET")?;
        if parameter(&call.query, "watch").as_deref() == Some("true") {
            return Some(Either::Right(self.watch(&route, &call.query)));
        }
        route.subresource.as_ref().filter(|subresource| *subresource == "log")?;
        let of = [route.namespace?, route.name?, parameter(&call.query, "container").unwrap_or_default()];
        self.logs.get(&of.join("/")).map(|text| whole(text.clone()))
    }

    fn watch(&mut self, route: &Route, query: &str) -> Changes {
        let since = parameter(query, "resourceVersion").and_then(|it| it.parse().ok()).unwrap_or(0);
        let newer = |object: &&Value| {
            let version = metadata(object, "resourceVersion").and_then(|it| it.parse::<u64>().ok());
            version.is_some_and(|version| version > since)
        };
        let collections = self.collections.iter().filter(|(collection, _)| route.covers(collection));
        let changed: Vec<_> =
            collections.flat_map(|(_, it)| it.values()).filter(newer).map(|it| ("MODIFIED", it)).collect();
        let removed = self.removed.iter().filter(|(at, of, _)| *at > since && route.covers(of));
        let removed = removed.map(|(_, _, object)| ("DELETED", object));
        self.watches.begin(route.clone(), Selection::parse(query), removed.chain(changed))
    }

    fn put(&mut self, collection: &str, name: &str, change: &'static str, object: Value) {
        self.watches.tell(collection, change, &object);
        self.collections.entry(collection.to_owned()).or_default().insert(name.to_owned(), object);
    }

    fn remove(&mut self, collection: &str, name: &str) -> Option<Value> {
        let object = self.collections.get_mut(collection)?.remove(name)?;
        self.writes += 1;
        self.watches.tell(collection, "DELETED", &object);
        self.removed.push((self.writes, collection.to_owned(), object.clone()));
        Some(object)
    }

    fn act(&mut self, call: &Call, method: &Method) -> (u16, Value) {
        let Some(route) = Route::parse(&call.path) else { return refuse(404, "NotFound", "no such path") };
        let name = route.name.clone().or_else(|| metadata(&call.body, "name").map(str::to_owned));
        let existing =
            name.as_ref().and_then(|name| self.collections.get(&route.collection)?.get(name)).cloned();
        match (method, name, existing) {
            (&Method::GET, None, _) => self.page(&route, &call.query),
            (&Method::POST, Some(name), None) => self.create(&route, &name, call.body.clone()),
            (&Method::POST, Some(name), Some(_)) => {
                refuse(409, "AlreadyExists", &format!("{} \"{name}\" already exists", route.plural))
            }
            (&Method::GET, Some(_), Some(object)) => (200, object),
            (&Method::DELETE, Some(name), Some(object)) => {
                if let Some(conflict) = conflict(&object, call.body.get("preconditions")) {
                    return conflict;
                }
                self.remove(&route.collection, &name);
                (200, object)
            }
            (&Method::PATCH | &Method::PUT, Some(name), Some(object)) => {
                self.write(&route, &name, call, &object)
            }
            (&Method::PATCH, Some(name), None) if call.verb == "APPLY" && route.subresource.is_none() => {
                if metadata(&call.body, "uid").is_some() {
                    return refuse(
                        409,
                        "Conflict",
                        "the UID in the precondition is of an object that is gone",
                    );
                }
                self.create(&route, &name, call.body.clone())
            }
            (_, name, _) => refuse(
                404,
                "NotFound",
                &format!("{} \"{}\" not found", route.plural, name.unwrap_or_default()),
            ),
        }
    }

    fn write(&mut self, route: &Route, name: &str, call: &Call, before: &Value) -> (u16, Value) {
        if let Some(conflict) = conflict(before, call.body.get("metadata")) {
            return conflict;
        }
        let mut object = before.clone();
        match (&route.subresource, call.verb.as_str()) {
            (Some(part), "APPLY") => object[part] = call.body.get(part).cloned().unwrap_or_default(),
            (None, "PUT") => object = call.body.clone(),
            _ => merge(&mut object, &call.body),
        }
        self.admit(route, &mut object);
        (200, self.store(&route.collection, name, before, object))
    }

    fn create(&mut self, route: &Route, name: &str, mut object: Value) -> (u16, Value) {
        object["metadata"]["name"] = json!(name);
        if let Some(namespace) = &route.namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
        self.admit(route, &mut object);
        self.stamp(&mut object, true);
        self.put(&route.collection, name, "ADDED", object.clone());
        (201, object)
    }

    fn admit(&self, route: &Route, object: &mut Value) {
        for (_, change) in self.webhooks.iter().filter(|(plural, _)| *plural == route.plural) {
            change(object);
        }
    }

    /// Stores what a write made of an object; one that changed nothing leaves the resourceVersion as it is.
    fn store(&mut self, collection: &str, name: &str, before: &Value, mut object: Value) -> Value {
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
            object["metadata"][field] = before["metadata"][field].clone();
        }
        if object != *before {
            if object.get("spec") != before.get("spec") {
                let generation = before["metadata"]["generation"].as_i64().unwrap_or_default();
                object["metadata"]["generation"] = json!(generation + 1);
            }
            self.stamp(&mut object, false);
            self.put(collection, name, "MODIFIED", object.clone());
        }
        object
    }

    fn stamp(&mut self, object: &mut Value, new: bool) {
        self.writes += 1;
        let number = self.writes;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(number.to_string());
        if new {
            for (field, value) in [
                ("uid", json!(format!("uid-{number}"))),
                ("creationTimestamp", json!("2026-01-01T00:00:00Z")),
                ("generation", json!(1)),
            ] {
                if metadata.get(field).is_none_or(Value::is_null) {
                    metadata[field] = value;
                }
            }
        }
    }

    /// The objects of a list, or as many of them as `limit` allows after those that `continue` says were told already.
    fn page(&mut self, route: &Route, query: &str) -> (u16, Value) {
        let number = |name: &str| parameter(query, name).and_then(|it| it.parse::<usize>().ok()).unwrap_or(0);
        let (told, limit) = (number("continue"), number("limit"));
        if told > 0 && std::mem::take(&mut self.page_expires) {
            return refuse(410, "Expired", "the provided continue parameter is too old");
        }
        let selection = Selection::parse(query);
        let collections = self.collections.iter().filter(|(collection, _)| route.covers(collection));
        let objects = collections.flat_map(|(_, objects)| objects.values());
        let mut items: Vec<_> =
            objects.filter(|object| selection.takes(object)).skip(told).cloned().collect();
        let mut metadata = json!({"resourceVersion": self.writes.to_string()});
        if limit > 0 && items.len() > limit {
            metadata["remainingItemCount"] = json!(items.len() - limit);
            metadata["continue"] = json!((told + limit).to_string());
            items.truncate(limit);
        }
        (200, json!({"metadata": metadata, "items": items}))
    }
}

/// A failed precondition: another UID or another resourceVersion than the object has.
fn conflict(object: &Value, conditions: Option<&Value>) -> Option<(u16, Value)> {
    ["uid", "resourceVersion"].into_iter().find_map(|field| {
        let wanted = conditions?.get(field)?.as_str()?;
        let failed = metadata(object, field) != Some(wanted);
        failed.then(|| refuse(409, "Conflict", &format!("the object's {field} is another")))
    })
}

fn whole(text: String) -> Answer {
    Either::Left(Full::new(text.into()))
}

fn refuse(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (code, failure(code, reason, message))
}

#[cfg(test)]
mod tests;
