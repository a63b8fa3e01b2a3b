use serde_json::{Value, json};
use ureq::http::Request;

/// A client of Secrets Manager that is not the one under test: it says what the test says. moto checks no signature; it
/// takes the region from where the signature names it.
#[derive(Debug, Clone)]
pub struct AwsClient {
    agent: ureq::Agent,
    port: u16,
    region: String,
}

impl AwsClient {
    #[must_use]
    pub fn new(port: u16, region: &str) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent = config.timeout_global(Some(std::time::Duration::from_secs(60))).build().into();
        Self { agent, port, region: region.to_owned() }
    }

    /// Calls an operation, and gives status and answer.
    ///
    /// # Panics
    /// If there is no answer that is JSON.
    #[must_use]
    pub fn call(&self, operation: &str, body: &Value) -> (u16, Value) {
        let region = &self.region;
        let scope = format!("Credential=testing/20260101/{region}/secretsmanager/aws4_request");
        let request = Request::builder()
            .method("POST")
            .uri(format!("http://127.0.0.1:{}/", self.port))
            .header("host", format!("secretsmanager.{region}.amazonaws.com"))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("secretsmanager.{operation}"))
            .header("authorization", format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"))
            .body(body.to_string())
            .expect("a request");
        let mut answer = self.agent.run(request).unwrap_or_else(|error| panic!("{operation}: {error}"));
        let bytes = answer.body_mut().with_config().limit(64 << 20).read_to_vec().expect("an answer ends");
        let json = serde_json::from_slice(&bytes);
        let json = json.unwrap_or_else(|_| panic!("{operation}: {}", String::from_utf8_lossy(&bytes)));
        (answer.status().as_u16(), json)
    }

    /// # Panics
    /// If the operation fails.
    #[track_caller]
    pub fn ok(&self, operation: &str, body: &Value) -> Value {
        let (status, answer) = self.call(operation, body);
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    /// Makes a secret of text.
    #[track_caller]
    pub fn create(&self, name: &str, text: &str) {
        self.ok("CreateSecret", &json!({ "Name": name, "SecretString": text, "ClientRequestToken": token() }));
    }

    /// Makes a secret of bytes, in base64.
    #[track_caller]
    pub fn create_binary(&self, name: &str, base64: &str) {
        self.ok("CreateSecret", &json!({ "Name": name, "SecretBinary": base64, "ClientRequestToken": token() }));
    }

    /// Gives a secret another text.
    #[track_caller]
    pub fn put(&self, name: &str, text: &str) {
        self.ok("PutSecretValue", &json!({ "SecretId": name, "SecretString": text, "ClientRequestToken": token() }));
    }

    /// Gives a secret bytes in place of what it had, in base64.
    #[track_caller]
    pub fn put_binary(&self, name: &str, base64: &str) {
        self.ok("PutSecretValue", &json!({ "SecretId": name, "SecretBinary": base64, "ClientRequestToken": token() }));
    }

    /// The text of a secret; nothing where there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        let (status, answer) = self.call("GetSecretValue", &json!({ "SecretId": name }));
        (status == 200).then(|| answer["SecretString"].as_str().map(str::to_owned)).flatten()
    }

    /// The names of all secrets of the region.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut next = Value::Null;
        loop {
            let body = if next.is_null() { json!({}) } else { json!({ "NextToken": next }) };
            let page = self.ok("ListSecrets", &body);
            let listed = page["SecretList"].as_array().cloned().unwrap_or_default();
            names.extend(listed.iter().filter_map(|one| one["Name"].as_str().map(str::to_owned)));
            next = page["NextToken"].clone();
            if next.is_null() {
                names.sort();
                return names;
            }
        }
    }

    /// Deletes a secret without the days that AWS gives to think it over.
    #[track_caller]
    pub fn delete(&self, name: &str) {
        self.ok("DeleteSecret", &json!({ "SecretId": name, "ForceDeleteWithoutRecovery": true }));
    }
}

/// A UUID of our own, as AWS's clients send one.
fn token() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("00000000-0000-4000-8000-{:012x}", NEXT.fetch_add(1, Ordering::Relaxed))
}
