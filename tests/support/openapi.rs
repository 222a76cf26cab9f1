//! Holds what is said over HTTP against the OpenAPI document, and the document against what was
//! said.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::Value;

/// The document, and which of its promises have been seen kept.
pub struct Document {
    root: Value,
    seen: RefCell<BTreeSet<String>>,
}

impl Document {
    pub fn new(root: Value) -> Self {
        Self {
            root,
            seen: RefCell::default(),
        }
    }

    /// Checks the body of a request that was accepted.
    #[track_caller]
    pub fn check_request(&self, method: &str, route: &str, body: &Value) {
        let content = &self.operation(method, route)["requestBody"]["content"];
        self.check(&content["application/json"]["schema"], body, "request");
    }

    /// Checks an answer: its status is one of those described, and its body is as described.
    #[track_caller]
    pub fn check_answer(&self, method: &str, route: &str, status: u16, body: &Value) {
        let status = status.to_string();
        let answer = &self.operation(method, route)["responses"][&status];
        assert!(
            answer.is_object(),
            "{method} {route} {status} is not described: {body}"
        );
        self.note(format!("{method} {route} {status}"));
        self.check(
            &answer["content"]["application/json"]["schema"],
            body,
            &status,
        );
    }

    /// What is described and has not been seen: answers of operations, and fields of schemas.
    pub fn unseen(&self) -> Vec<String> {
        let mut promised = BTreeSet::new();
        for (route, operations) in object(&self.root["paths"]) {
            for (method, operation) in object(operations).filter(|(key, _)| *key != "parameters") {
                let statuses = object(&operation["responses"]).map(|(status, _)| status);
                promised.extend(
                    statuses.map(|status| format!("{} {route} {status}", method.to_uppercase())),
                );
            }
        }
        for (name, schema) in object(&self.root["components"]["schemas"]) {
            promised
                .extend(object(&schema["properties"]).map(|(field, _)| format!("{name}.{field}")));
        }
        promised.difference(&self.seen.borrow()).cloned().collect()
    }

    #[track_caller]
    fn operation(&self, method: &str, route: &str) -> &Value {
        let operation = &self.root["paths"][route][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {route} is not described");
        operation
    }

    fn note(&self, what: String) {
        self.seen.borrow_mut().insert(what);
    }

    #[track_caller]
    fn check(&self, schema: &Value, value: &Value, place: &str) {
        if let Err(fault) = self.fault(schema, value, "") {
            panic!("{place}: {fault} in {value}");
        }
    }

    /// The keywords of JSON Schema that the document uses; any other is a fault of this test.
    fn fault(&self, schema: &Value, value: &Value, owner: &str) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{owner}: {what}: {value}"));
        for (keyword, rule) in object(schema) {
            let limit = rule.as_i64().unwrap_or(0);
            let length =
                |text: &Value| text.as_str().map(|text| i64::try_from(text.len()).unwrap());
            let count = |list: &Value| {
                list.as_array()
                    .map(|list| i64::try_from(list.len()).unwrap())
            };
            match keyword {
                "description" | "default" | "required" => {}
                "$ref" => {
                    let name = rule.as_str().unwrap().rsplit('/').next().unwrap();
                    self.fault(&self.root["components"]["schemas"][name], value, name)?;
                }
                "type" => {
                    let types = rule.as_array().cloned().unwrap_or(vec![rule.clone()]);
                    if !types.iter().any(|kind| is_of(kind, value)) {
                        return wrong("is of another type");
                    }
                }
                "properties" => {
                    for (field, schema) in object(rule).filter(|(field, _)| !value[field].is_null())
                    {
                        self.note(format!("{owner}.{field}"));
                        let inner = if owner == "Error" {
                            "Error.error"
                        } else {
                            owner
                        };
                        self.fault(schema, &value[field], inner)?;
                    }
                }
                "additionalProperties" => {
                    let unknown =
                        object(value).find(|(field, _)| schema["properties"][field].is_null());
                    if let (false, Some((field, _))) = (rule.as_bool().unwrap(), unknown) {
                        return wrong(&format!("{field} is not described"));
                    }
                }
                "items" => {
                    for item in value.as_array().into_iter().flatten() {
                        self.fault(rule, item, owner)?;
                    }
                }
                "enum" if !rule.as_array().unwrap().contains(value) => {
                    return wrong("is none of those");
                }
                "minimum" if value.as_i64().is_some_and(|value| value < limit) => {
                    return wrong("is too small");
                }
                "maximum" if value.as_i64().is_some_and(|value| value > limit) => {
                    return wrong("is too large");
                }
                "minLength" if length(value).is_some_and(|len| len < limit) => {
                    return wrong("is too short");
                }
                "maxLength" if length(value).is_some_and(|len| len > limit) => {
                    return wrong("is too long");
                }
                "minItems" if count(value).is_some_and(|len| len < limit) => {
                    return wrong("has too few");
                }
                "maxItems" if count(value).is_some_and(|len| len > limit) => {
                    return wrong("has too many");
                }
                "enum" | "minimum" | "maximum" | "minLength" | "maxLength" | "minItems"
                | "maxItems" => {}
                "anyOf" => {
                    let mut ways = rule.as_array().unwrap().iter();
                    if !ways.any(|way| self.fault(way, value, owner).is_ok()) {
                        return wrong("fits nothing of anyOf");
                    }
                }
                "allOf" => {
                    for way in rule.as_array().unwrap() {
                        self.fault(way, value, owner)?;
                    }
                }
                other => return wrong(&format!("this test does not know the keyword {other}")),
            }
        }
        let required = schema["required"].as_array().into_iter().flatten();
        match required
            .filter_map(Value::as_str)
            .find(|field| value.get(field).is_none())
        {
            Some(missing) => wrong(&format!("{missing} is missing")),
            None => Ok(()),
        }
    }
}

fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let fields = value.as_object().into_iter().flatten();
    fields.map(|(field, value)| (field.as_str(), value))
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    }
}
